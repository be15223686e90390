/* A program for an agent that is sent anything: reads, writes, forks, stays or goes, by its first argument. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argument_count, char **arguments) {
  static char buffer[5000];
  const char *what = argument_count > 1 ? arguments[1] : "";
  if (strcmp(what, "copy") == 0)
    for (ssize_t size; (size = read(0, buffer, sizeof buffer)) > 0;)
      if (write(1, buffer, (size_t)size) < 0) return 1;
  if (strcmp(what, "flood") == 0)
    while (write(1, buffer, sizeof buffer) > 0 && write(2, buffer, 1) > 0);
  if (strcmp(what, "leave") == 0 && fork() == 0) sleep(1);
  if (strcmp(what, "stay") == 0) sleep(1000);
  if (strcmp(what, "die") == 0) abort();
  return argument_count;
}
