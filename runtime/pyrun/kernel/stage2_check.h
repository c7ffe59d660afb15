/* Stage 2 refuses orders that make no sense, before it obeys the first: what comes after needs to check nothing. */
#include "stage2_calls.h"

/* kind -> how many numbers it has at least and at most, and whether it can fail and so needs a label */
static const struct rule {
    unsigned char least, most, label;
} rules[ORDER_END - ORDER_CALL] = {
    [ORDER_CALL - ORDER_CALL] = {2, 8, 0},    [ORDER_CALL_EACH - ORDER_CALL] = {3, 9, 0},
    [ORDER_WRITE - ORDER_CALL] = {2, 2, 0},   [ORDER_ENTER - ORDER_CALL] = {0, 0, 1},
    [ORDER_INSIDE - ORDER_CALL] = {0, 0, 1},  [ORDER_FIND - ORDER_CALL] = {0, 0, 1},
    [ORDER_FILTER - ORDER_CALL] = {1, 1, 1},  [ORDER_EARLY - ORDER_CALL] = {3, 3, 1},
    [ORDER_BIRTH - ORDER_CALL] = {0, 0, 1},   [ORDER_LISTEN_PID - ORDER_CALL] = {0, 0, 0},
    [ORDER_WAIT - ORDER_CALL] = {2, 2, 0},    [ORDER_STATE - ORDER_CALL] = {1, 1, 0},
    [ORDER_HOOK - ORDER_CALL] = {3, 3, 1},    [ORDER_GOING - ORDER_CALL] = {0, 0, 0},
    [ORDER_LOAD - ORDER_CALL] = {0, 0, 0},    [ORDER_GIVE - ORDER_CALL] = {0, 0, 0},
    [ORDER_EXECUTE - ORDER_CALL] = {0, 0, 1},
};

/* How many texts the data is made of; 0 if its last byte is no NUL. */
static uint64_t count_texts(const char *data, uint64_t size)
{
    uint64_t count = 0;
    if (!size || data[size - 1])
        return 0;
    for (uint64_t i = 0; i < size; i++)
        count += !data[i];
    return count;
}

static int points_into_data(const struct order *order)
{
    for (uint64_t i = 2; i < count_of(order); i++)
        if (order->numbers[1] >> (i - 2) & 1 && order->numbers[i] >= data_size(order))
            return 0;
    return 1;
}

static int makes_sense(const struct order *order)
{
    uint64_t room = (uint64_t)((const uint64_t *)orders_end - (const uint64_t *)order);
    if (room < 2 || length_of(order) > room)
        return 0;
    uint64_t kind = order->kind >> 32, count = count_of(order), size = data_size(order);
    if (kind < ORDER_CALL || kind >= ORDER_END || label_size(order) > LONGEST_LABEL)
        return 0;
    const struct rule *rule = &rules[kind - ORDER_CALL];
    if (count < rule->least || count > rule->most || (rule->label && !label_size(order)))
        return 0;
    const char *data = data_of(order);
    const uint64_t *numbers = order->numbers;
    switch ((enum order_kind)kind) {
    case ORDER_CALL: return points_into_data(order);
    case ORDER_CALL_EACH: return numbers[2] < 6;
    case ORDER_WRITE: return numbers[1] <= size && (!numbers[1] || count_texts(data, numbers[1]) == 1);
    case ORDER_ENTER: return count_texts(data, size) == 1;
    case ORDER_FIND: return count_texts(data, size) > 0;
    case ORDER_FILTER: return size && size % sizeof(uint64_t) == 0 && size / sizeof(uint64_t) <= UINT16_MAX;
    case ORDER_STATE: return numbers[0] == UINT64_MAX || (size >= 16 && numbers[0] <= size - 16);
    case ORDER_HOOK:
        return numbers[1] < size && numbers[2] < size &&
               count_texts(data, size) == 1 + numbers[1] + numbers[2];
    default: return 1;
    }
}

/* The number of the first order that makes no sense, counted from 0; -1 if all do. */
static int64_t first_nonsense(const struct order *first)
{
    int64_t number = 0;
    for (const struct order *order = first; order < orders_end; order = after(order), number++)
        if (!makes_sense(order))
            return number;
    return -1;
}
