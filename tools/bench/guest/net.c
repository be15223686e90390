/*
 * The guest's end of TCP connections, for the benchmark of networks: it connects, sends or reads as much as it is told, and says how long
 * that took by its own clock; or it serves a page to whoever asks, as a web server does, until it is asked for /quit.
 *
 *     net receive HOST PORT BYTES     net send HOST PORT BYTES     net ask HOST PORT TIMES (one octet there and back)
 *     net serve PORT
 *     net sink PORT (reads what one connection sends)     net echo PORT (gives it back)
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char data[256 * 1024];

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + time.tv_nsec / 1e9;
}

/* The size of the page that nginx greets with. */
#define PAGE_BYTES 615
#define MOST_SOCKETS 1024

/* How far each connection is in the four octets that end a request. */
static unsigned char ending[MOST_SOCKETS];

/* Requests that end in these octets of a connection. */
static int requests(int socket_, const char *octets, ssize_t size) {
  int count = 0;
  for (ssize_t at = 0; at < size; at++) {
    int is_next = octets[at] == "\r\n\r\n"[ending[socket_]];
    ending[socket_] = is_next ? ending[socket_] + 1 : octets[at] == '\r';
    if (ending[socket_] < 4) continue;
    ending[socket_] = 0;
    count++;
  }
  return count;
}

/* A socket that listens at the port, or -1. */
static int listener(int port, int flags) {
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(port)};
  int listening = socket(AF_INET, SOCK_STREAM | flags, 0), yes = 1;
  setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(listening, (struct sockaddr *)&own, sizeof own) == 0 && listen(listening, 512) == 0) return listening;
  perror("listen");
  return -1;
}

/* Reads all that one client sends, and gives it back or not. */
static int take(int port, int gives_back) {
  int listening = listener(port, 0), yes = 1;
  if (listening < 0) return 1;
  printf("NET serving\n");
  fflush(stdout);
  int client = accept(listening, NULL, NULL);
  setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  ssize_t size;
  while ((size = read(client, data, sizeof data)) > 0)
    if (gives_back && write(client, data, size) != size) return 1;
  return size == 0 ? 0 : 1;
}

static int serve(int port) {
  char answer[1024];
  int head = sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n", PAGE_BYTES);
  memset(answer + head, 'x', PAGE_BYTES);
  int listening = listener(port, SOCK_NONBLOCK), yes = 1;
  if (listening < 0) return 1;
  int poll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listening}, events[64];
  epoll_ctl(poll, EPOLL_CTL_ADD, listening, &event);
  printf("NET serving\n");
  fflush(stdout);
  for (;;) {
    int count = epoll_wait(poll, events, 64, -1);
    for (int index = 0; index < count; index++) {
      int socket_ = events[index].data.fd;
      if (socket_ == listening) {
        int client = accept4(listening, NULL, NULL, SOCK_NONBLOCK);
        if (client < 0) continue;
        if (client >= MOST_SOCKETS) {
          close(client);
          continue;
        }
        ending[client] = 0;
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        event.events = EPOLLIN;
        event.data.fd = client;
        epoll_ctl(poll, EPOLL_CTL_ADD, client, &event);
        continue;
      }
      ssize_t size = read(socket_, data, sizeof data);
      if (size <= 0) {
        close(socket_);
        continue;
      }
      if (size > 9 && memcmp(data, "GET /quit", 9) == 0) return 0;
      for (int left = requests(socket_, data, size); left > 0; left--)
        if (write(socket_, answer, head + PAGE_BYTES) != head + PAGE_BYTES) break;
    }
  }
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "serve") == 0) return serve(atoi(argv[2]));
  if (argc == 3 && strcmp(argv[1], "sink") == 0) return take(atoi(argv[2]), 0);
  if (argc == 3 && strcmp(argv[1], "echo") == 0) return take(atoi(argv[2]), 1);
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
