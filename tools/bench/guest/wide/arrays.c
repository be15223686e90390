// Arrays walked in ways that caches like less: a matrix by its columns, and the table of an edit distance.
#include "wide.h"

void stride(void) {
  enum { SIDE = 1024, TURNS = 12 };
  uint32_t *cells = need(sizeof *cells * SIDE * SIDE);
  for (size_t i = 0; i < (size_t)SIDE * SIDE; i++) cells[i] = (uint32_t)i * 2654435761u;
  uint64_t sum = 0;
  double start = now();
  for (int turn = 0; turn < TURNS; turn++)
    for (int column = 0; column < SIDE; column++) {
      uint32_t total = (uint32_t)turn;
      for (int row = 0; row < SIDE; row++) {
        total += cells[(size_t)row * SIDE + (size_t)column];
        cells[(size_t)row * SIDE + (size_t)column] = total ^ (total >> 3);
      }
      sum = mix(sum, total);
    }
  result("stride", now() - start, sum);
  free(cells);
}

void editdist(void) {
  enum { LENGTH = 8000 };
  static uint8_t a[LENGTH], b[LENGTH];
  static uint32_t row[LENGTH + 1];
  uint64_t seed = 4;
  for (int i = 0; i < LENGTH; i++) {
    a[i] = (uint8_t)(draw(&seed) & 3);
    b[i] = (uint8_t)(draw(&seed) & 7 ? a[i] : draw(&seed) & 3);
  }
  double start = now();
  for (uint32_t j = 0; j <= LENGTH; j++) row[j] = j;
  for (uint32_t i = 1; i <= LENGTH; i++) {
    uint32_t diagonal = row[0];
    row[0] = i;
    for (uint32_t j = 1; j <= LENGTH; j++) {
      uint32_t best = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      if (row[j] + 1 < best) best = row[j] + 1;
      if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
      row[j] = best;
    }
  }
  result("editdist", now() - start, row[LENGTH]);
}
