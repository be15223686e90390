// What old programs about offices do: records that are copied and compared, short strings, enumerations, procedures with many arguments.
#include "wide.h"

enum grade { LOW, MIDDLE, HIGH, TOP };

struct person {
  struct person *boss;
  enum grade grade;
  int32_t room, age;
  char name[32], town[16];
};

static int __attribute__((noinline)) compare_names(const struct person *a, const struct person *b) {
  int order = strcmp(a->name, b->name);
  return order != 0 ? order : strcmp(a->town, b->town);
}

static void __attribute__((noinline)) promote(struct person *person, int32_t *rooms, int32_t by, enum grade limit) {
  struct person before = *person;
  switch (person->grade) {
    case LOW: person->grade = by > 2 ? HIGH : MIDDLE; break;
    case MIDDLE: person->grade = HIGH; break;
    case HIGH: person->grade = limit; break;
    case TOP: person->grade = LOW; break;
  }
  person->room = rooms[(before.room + by) & 63];
  rooms[before.room & 63] += person->grade == TOP ? 5 : 1;
}

static void __attribute__((noinline)) rename_person(struct person *person, const char *first, const char *last) {
  strcpy(person->name, first);
  strcat(person->name, " ");
  strcat(person->name, last);
  person->name[0] = (char)(person->name[0] - 'a' + 'A');
}

void strmix(void) {
  static const char *const first[] = {"anna", "berta", "conrad", "dieter", "emilia", "fritz", "gustav", "hanna"};
  static const char *const last[] = {"of the valley", "miller", "smith the elder", "baker", "weaver"};
  static struct person staff[64];
  static int32_t rooms[64];
  for (int i = 0; i < 64; i++) {
    staff[i] = (struct person){.boss = &staff[i / 2], .grade = (enum grade)(i & 3), .room = i, .age = 20 + i};
    rename_person(&staff[i], first[i & 7], last[i % 5]);
    strcpy(staff[i].town, i & 1 ? "upper town" : "lower town");
    rooms[i] = i * 3;
  }
  uint64_t sum = 0;
  double start = now();
  for (int32_t turn = 0; turn < 6000000; turn++) {
    struct person *one = &staff[turn & 63], *other = one->boss;
    promote(one, rooms, turn % 5, TOP);
    if (compare_names(one, other) > 0) {
      struct person copy = *one;
      copy.boss = other->boss;
      copy.age = (one->age + other->age) / 2;
      *one = copy;
    }
    if ((turn & 15) == 0) rename_person(one, first[(turn >> 4) & 7], last[(turn >> 4) % 5]);
    sum += (uint64_t)(one->room + one->age + (int)strlen(one->name));
  }
  result("strmix", now() - start, sum);
}
