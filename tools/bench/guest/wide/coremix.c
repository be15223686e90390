// What small controllers do: a linked list that is searched, reversed and sorted, matrices of 16-bit numbers, an automaton that reads
// numbers, and a CRC over everything.
#include "wide.h"

enum { NODES = 400, SIDE = 24, TEXT = 2000, TURNS = 1000 };

struct node {
  struct node *next;
  int16_t key, value;
};

static uint16_t crc16(uint16_t crc, uint32_t value) {
  for (int byte = 0; byte < 4; byte++) {
    crc ^= (uint16_t)(value >> (8 * byte) & 0xff);
    for (int bit = 0; bit < 8; bit++) crc = (uint16_t)(crc & 1 ? (crc >> 1) ^ 0xa001 : crc >> 1);
  }
  return crc;
}

static struct node *merge(struct node *a, struct node *b) {
  struct node head, *last = &head;
  while (a && b) {
    struct node **least = a->key <= b->key ? &a : &b;
    last->next = *least;
    last = *least;
    *least = last->next;
  }
  last->next = a ? a : b;
  return head.next;
}

static struct node *sort(struct node *list) {
  if (!list || !list->next) return list;
  struct node *slow = list, *fast = list->next;
  while (fast && fast->next) {
    slow = slow->next;
    fast = fast->next->next;
  }
  struct node *half = slow->next;
  slow->next = NULL;
  return merge(sort(list), sort(half));
}

static struct node *reverse(struct node *list) {
  struct node *done = NULL;
  while (list) {
    struct node *next = list->next;
    list->next = done;
    done = list;
    list = next;
  }
  return done;
}

static uint16_t lists(struct node *nodes, uint64_t *seed, uint16_t crc) {
  struct node *list = NULL;
  for (int i = 0; i < NODES; i++) {
    nodes[i] = (struct node){list, (int16_t)draw(seed), (int16_t)i};
    list = &nodes[i];
  }
  for (int wanted = 0; wanted < NODES; wanted += 40)
    for (struct node *at = list; at; at = at->next)
      if (at->value == wanted) {
        crc = crc16(crc, (uint16_t)at->key);
        break;
      }
  list = sort(reverse(list));
  for (struct node *at = list; at; at = at->next) crc = crc16(crc, (uint16_t)at->value);
  return crc;
}

static uint16_t matrices(int turn, uint16_t crc) {
  static int16_t a[SIDE][SIDE], b[SIDE][SIDE];
  static int32_t c[SIDE][SIDE];
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      a[i][j] = (int16_t)(i * 7 + j * 3 + turn);
      b[i][j] = (int16_t)(i * 5 - j * 11 - turn);
    }
  for (int i = 0; i < SIDE; i++)
    for (int j = 0; j < SIDE; j++) {
      int32_t sum = 0;
      for (int k = 0; k < SIDE; k++) sum += (int32_t)a[i][k] * b[k][j];
      c[i][j] = sum;
    }
  for (int i = 0; i < SIDE; i++) crc = crc16(crc, (uint32_t)c[i][SIDE - 1 - i]);
  return crc;
}

enum state { START, SIGN, WHOLE, POINT, FRACTION, EXPONENT, EXPONENT_SIGN, POWER, INVALID, STATES };

static uint16_t automaton(const char *text, uint16_t crc) {
  uint32_t ends[STATES] = {0};
  enum state state = START;
  for (const char *at = text; *at; at++) {
    int isDigit = *at >= '0' && *at <= '9';
    if (*at == ',') {
      ends[state]++;
      state = START;
      continue;
    }
    switch (state) {
      case START: state = isDigit ? WHOLE : *at == '+' || *at == '-' ? SIGN : *at == '.' ? POINT : INVALID; break;
      case SIGN: state = isDigit ? WHOLE : *at == '.' ? POINT : INVALID; break;
      case WHOLE: state = isDigit ? WHOLE : *at == '.' ? FRACTION : *at == 'e' ? EXPONENT : INVALID; break;
      case POINT: state = isDigit ? FRACTION : INVALID; break;
      case FRACTION: state = isDigit ? FRACTION : *at == 'e' ? EXPONENT : INVALID; break;
      case EXPONENT: state = isDigit ? POWER : *at == '+' || *at == '-' ? EXPONENT_SIGN : INVALID; break;
      case EXPONENT_SIGN: state = isDigit ? POWER : INVALID; break;
      case POWER: state = isDigit ? POWER : INVALID; break;
      default: break;
    }
  }
  for (int i = 0; i < STATES; i++) crc = crc16(crc, ends[i]);
  return crc;
}

void coremix(void) {
  static struct node nodes[NODES];
  static char text[TEXT + 1];
  uint64_t seed = 1;
  for (int i = 0; i < TEXT; i++) text[i] = "0123456789+-.e,,,"[draw(&seed) % 17];
  uint16_t crc = 0;
  double start = now();
  for (int turn = 0; turn < TURNS; turn++) {
    crc = lists(nodes, &seed, crc);
    crc = matrices(turn, crc);
    crc = automaton(text, crc);
  }
  result("coremix", now() - start, crc);
}
