// What blast and pingpong share: the clock and a UDP socket bound or connected to a literal address.
#pragma once
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

static unsigned long nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ul + t.tv_nsec;
}

static int open_udp(const char *address, const char *port, int (*use)(int, const struct sockaddr *, socklen_t)) {
  struct addrinfo hints = {.ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *found;
  int error = getaddrinfo(address, port, &hints, &found);
  if (error) fprintf(stderr, "%s: %s\n", address, gai_strerror(error)), exit(2);
  int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || use(fd, found->ai_addr, found->ai_addrlen) < 0) perror(address), exit(2);
  freeaddrinfo(found);
  return fd;
}

/** Sets a receive timeout. */
static void be_patient(int fd, int milliseconds) {
  struct timeval time = {.tv_sec = milliseconds / 1000, .tv_usec = milliseconds % 1000 * 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}
