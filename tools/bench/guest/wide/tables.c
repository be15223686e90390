// Data structures that live on pointers: a hash table with open addressing, and binary trees made and freed node by node.
#include "wide.h"

enum { SLOTS = 1 << 18, KEYS = 100000 };

struct slot {
  uint64_t key, value;
};

static struct slot *slots;

static struct slot *find(uint64_t key) {
  size_t at = (size_t)(key * 0x9e3779b97f4a7c15ull >> 46);
  while (slots[at].key != 0 && slots[at].key != key) at = (at + 1) & (SLOTS - 1);
  return &slots[at];
}

static void erase(struct slot *gone) {
  size_t hole = (size_t)(gone - slots), at = hole;
  for (;;) {
    at = (at + 1) & (SLOTS - 1);
    if (slots[at].key == 0) break;
    size_t home = (size_t)(slots[at].key * 0x9e3779b97f4a7c15ull >> 46);
    if (((at - home) & (SLOTS - 1)) < ((at - hole) & (SLOTS - 1))) continue;
    slots[hole] = slots[at];
    hole = at;
  }
  slots[hole].key = 0;
}

void hash(void) {
  slots = calloc(SLOTS, sizeof *slots);
  if (slots == NULL) fail("calloc");
  uint64_t sum = 0;
  double start = now();
  for (int turn = 0; turn < 16; turn++) {
    uint64_t seed = 6 + (uint64_t)turn;
    for (int i = 0; i < KEYS; i++) {
      uint64_t key = draw(&seed) | 1;
      struct slot *slot = find(key);
      *slot = (struct slot){key, slot->value + (uint64_t)i};
    }
    seed = 6 + (uint64_t)turn;
    for (int i = 0; i < KEYS; i++) {
      uint64_t key = draw(&seed) | 1;
      sum += find(key)->value + (find(key + 2)->key != 0);
    }
    seed = 6 + (uint64_t)turn;
    for (int i = 0; i < KEYS; i++) {
      uint64_t key = draw(&seed) | 1;
      if (find(key)->key == key && i % 32 != 0) erase(find(key));
    }
  }
  result("hash", now() - start, sum);
  free(slots);
}

struct tree {
  struct tree *left, *right;
};

static struct tree *grow(int depth) {
  struct tree *tree = need(sizeof *tree);
  *tree = depth == 0 ? (struct tree){0} : (struct tree){grow(depth - 1), grow(depth - 1)};
  return tree;
}

static uint64_t count(const struct tree *tree) {
  return tree == NULL ? 0 : 1 + count(tree->left) + count(tree->right);
}

static void fell(struct tree *tree) {
  if (tree == NULL) return;
  fell(tree->left);
  fell(tree->right);
  free(tree);
}

void trees(void) {
  enum { DEEPEST = 16 };
  uint64_t sum = 0;
  double start = now();
  struct tree *kept = grow(DEEPEST);
  for (int depth = 4; depth <= DEEPEST; depth += 4)
    for (int i = 0; i < 1 << (DEEPEST - depth + 2); i++) {
      struct tree *tree = grow(depth);
      sum += count(tree);
      fell(tree);
    }
  sum = mix(sum, count(kept));
  fell(kept);
  result("trees", now() - start, sum);
}
