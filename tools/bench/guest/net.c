/*
 * One end of a TCP connection that is kept full, for the benchmark of networks: it connects, sends or reads as much as it is told, and says
 * how long that took by its own clock.
 *
 *     net receive HOST PORT BYTES     net send HOST PORT BYTES     net ask HOST PORT TIMES (one octet there and back)
 */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char data[256 * 1024];

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
  if (argc != 5) return 2;
  const char *what = argv[1];
  long long count = atoll(argv[4]);
  struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[3]))};
  inet_pton(AF_INET, argv[2], &peer.sin_addr);
  int socket_ = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(socket_, (struct sockaddr *)&peer, sizeof peer) != 0) {
    perror("connect");
    return 1;
  }
  double begin = now();
  long long done = 0;
  if (strcmp(what, "receive") == 0) {
    while (done < count) {
      ssize_t size = read(socket_, data, sizeof data);
      if (size <= 0) break;
      done += size;
    }
  } else if (strcmp(what, "send") == 0) {
    while (done < count) {
      long long rest = count - done;
      ssize_t size = write(socket_, data, rest < (long long)sizeof data ? (size_t)rest : sizeof data);
      if (size <= 0) break;
      done += size;
    }
    /* Over is it when the other end has read everything and closes. */
    shutdown(socket_, SHUT_WR);
    while (read(socket_, data, sizeof data) > 0) {
    }
  } else {
    int yes = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    while (done < count && write(socket_, data, 1) == 1 && read(socket_, data, 1) == 1) done++;
  }
  printf("NET %s %lld %.6f\n", what, done, now() - begin);
  return done == count ? 0 : 1;
}
