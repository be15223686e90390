// Where control goes: an interpreter with a switch, recursion, virtual calls, jumps out of the depth of a stack, an automaton over text.
#include <setjmp.h>
#include "wide.h"

enum op { PUSH, ADD, SUB, MUL, AND, DUP, SWAP, LOAD, STORE, LESS, JUMP_IF, JUMP, HALT };

static int64_t interpret(const int32_t *code, int64_t *cells) {
  int64_t stack[32], *top = stack;
  const int32_t *at = code;
  for (;;) switch (*at++) {
      case PUSH: *++top = *at++; break;
      case ADD: top[-1] += top[0], top--; break;
      case SUB: top[-1] -= top[0], top--; break;
      case MUL: top[-1] = (int64_t)((uint64_t)top[-1] * (uint64_t)top[0]), top--; break;
      case AND: top[-1] &= top[0], top--; break;
      case DUP: top[1] = top[0], top++; break;
      case SWAP: {
        int64_t held = top[0];
        top[0] = top[-1];
        top[-1] = held;
        break;
      }
      case LOAD: *++top = cells[*at++]; break;
      case STORE: cells[*at++] = *top--; break;
      case LESS: top[-1] = top[-1] < top[0], top--; break;
      case JUMP_IF: at = *top-- ? code + *at : at + 1; break;
      case JUMP: at = code + *at; break;
      default: return cells[1];
    }
}

void bytecode(void) {
  // i = 0; sum = 1; do { sum = (sum * 31 + i) & 0xffffff; if (sum < i) sum = sum - i * 3; i = i + 1; } while (i < n)
  static const int32_t code[] = {
      PUSH, 0, STORE, 0, PUSH, 1, STORE, 1,                                             // 0
      LOAD, 1, PUSH, 31, MUL, LOAD, 0, ADD, PUSH, 0xffffff, AND, DUP, STORE, 1,         // 8
      LOAD, 0, LESS, JUMP_IF, 29, JUMP, 39, LOAD, 1, LOAD, 0, PUSH, 3, MUL, SUB, STORE, 1, // 22
      LOAD, 0, PUSH, 1, ADD, DUP, STORE, 0, LOAD, 2, LESS, JUMP_IF, 8, HALT,            // 39
  };
  int64_t cells[3] = {0, 0, 3000000};
  double start = now();
  int64_t sum = interpret(code, cells);
  result("bytecode", now() - start, (uint64_t)sum);
}

static uint64_t __attribute__((noinline)) fibonacci(unsigned n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

static uint64_t __attribute__((noinline)) ackermann(uint64_t m, uint64_t n) {
  if (m == 0) return n + 1;
  return n == 0 ? ackermann(m - 1, 1) : ackermann(m - 1, ackermann(m, n - 1));
}

void recurse(void) {
  static volatile unsigned thirty_four = 34, eight = 8; // not known to the compiler, which would keep an answer
  double start = now();
  uint64_t sum = fibonacci(thirty_four);
  for (int turn = 0; turn < 4; turn++) sum = mix(sum, ackermann(3, eight));
  result("recurse", now() - start, sum);
}

struct shape;
struct shape_methods {
  int64_t (*area)(const struct shape *);
  void (*scale)(struct shape *, int64_t);
};
struct shape {
  const struct shape_methods *methods;
  int64_t a, b;
};

static int64_t box_area(const struct shape *it) { return it->a * it->b; }
static int64_t triangle_area(const struct shape *it) { return it->a * it->b / 2; }
static int64_t ring_area(const struct shape *it) { return (it->a * it->a - it->b * it->b) * 3; }
static int64_t point_area(const struct shape *it) { return it->a & 0; }
static void both(struct shape *it, int64_t by) { it->a = (it->a * by + 1) & 1023, it->b = (it->b * by + 3) & 1023; }
static void first(struct shape *it, int64_t by) { it->a = (it->a + by) & 1023; }

void virtual_calls(void) {
  enum { SHAPES = 1000 };
  static const struct shape_methods kinds[] = {{box_area, both}, {triangle_area, both}, {ring_area, first}, {point_area, first}};
  static struct shape shapes[SHAPES];
  uint64_t seed = 7;
  for (int i = 0; i < SHAPES; i++)
    shapes[i] = (struct shape){&kinds[draw(&seed) & 3], (int64_t)(draw(&seed) & 255), (int64_t)(draw(&seed) & 255)};
  int64_t sum = 0;
  double start = now();
  for (int turn = 0; turn < 12000; turn++)
    for (int i = 0; i < SHAPES; i++) {
      struct shape *shape = &shapes[i];
      sum += shape->methods->area(shape);
      if (((turn + i) & 7) == 0) shape->methods->scale(shape, turn & 15);
    }
  result("virtual", now() - start, (uint64_t)sum);
}

static jmp_buf out;

static void __attribute__((noinline)) descend(int depth, int thrown) {
  volatile int kept = depth;
  if (depth == 0) longjmp(out, thrown);
  descend(depth - 1, thrown + kept);
}

void jump(void) {
  volatile uint64_t sum = 0;
  volatile int turn = 0;
  double start = now();
  for (turn = 0; turn < 2000000; turn++) {
    int thrown = setjmp(out);
    if (thrown == 0) descend(turn & 7, 1);
    sum += (uint64_t)thrown;
  }
  result("jump", now() - start, sum);
}

// Words that hold "ab*c" or end in a digit, counted by a table: state and class of a byte give the next state.
void dfa(void) {
  enum { SIZE = 4 << 20, TURNS = 10 };
  enum class { LETTER, A, B, C, DIGIT, SPACE, CLASSES };
  enum state { NONE, AFTER_A, MATCH, AFTER_DIGIT, STATES };
  static const uint8_t next[STATES][CLASSES] = {
      [NONE] = {NONE, AFTER_A, NONE, NONE, AFTER_DIGIT, NONE},
      [AFTER_A] = {NONE, AFTER_A, AFTER_A, MATCH, AFTER_DIGIT, NONE},
      [MATCH] = {MATCH, MATCH, MATCH, MATCH, MATCH, NONE},
      [AFTER_DIGIT] = {NONE, AFTER_A, NONE, NONE, AFTER_DIGIT, NONE},
  };
  uint8_t class_of[256] = {0};
  class_of['a'] = A, class_of['b'] = B, class_of['c'] = C, class_of[' '] = SPACE;
  for (int c = '0'; c <= '9'; c++) class_of[c] = DIGIT;
  uint8_t *text = need(SIZE);
  uint64_t seed = 8;
  for (int i = 0; i < SIZE; i++) text[i] = (uint8_t)"aabbccdefgh 12  "[draw(&seed) & 15];
  uint64_t sum = 0;
  double start = now();
  for (int turn = 0; turn < TURNS; turn++) {
    uint64_t found = 0;
    unsigned state = NONE;
    for (int i = 0; i < SIZE; i++) {
      unsigned class = class_of[text[i]];
      if (class == SPACE) found += state == MATCH ? 1 : state == AFTER_DIGIT ? 0x10000 : 0;
      state = next[state][class];
    }
    text[turn * 31] = ' ';
    sum = mix(sum, found);
  }
  result("dfa", now() - start, sum);
  free(text);
}
