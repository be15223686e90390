/* Sends every datagram that comes to a port back to its sender: busybox has no UDP server. */

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
  static char data[65536];
  struct sockaddr_in self = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 7)};
  int socket_ = socket(AF_INET, SOCK_DGRAM, 0);
  if (bind(socket_, (struct sockaddr *)&self, sizeof self) != 0) return 1;
  puts("serving");
  fflush(stdout);
  for (;;) {
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    ssize_t size = recvfrom(socket_, data, sizeof data, 0, (struct sockaddr *)&peer, &length);
    if (size < 0) return 1;
    sendto(socket_, data, size, 0, (struct sockaddr *)&peer, length);
  }
}
