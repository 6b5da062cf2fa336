// The forwarding database's memory and its writer.
#include <stdlib.h>
#include "table.h"

struct entry *table;
uint32_t table_mask;

void insert(int32_t k0, int32_t k1, int32_t value) {
  uint32_t cell = mix_key(k0, k1) & table_mask;
  while (table[cell].k0 != 0) cell = (cell + 1) & table_mask;
  table[cell] = (struct entry){k0, k1, value, 0};
}

void fill_table(unsigned n, int32_t target) {
  uint32_t cells = 16;
  while (cells < 2 * n) cells *= 2;
  free(table);
  table = calloc(cells, sizeof *table);
  table_mask = cells - 1;
  for (unsigned i = 0; i < n; i++) insert(NETWORK << 16 | 0x0242, mac_low(i), target);
}
