/* What a step of a hub costs in C, and drivers in C: one epoll loop each, and nothing else.

   Built by the bench and called through ctypes (compiled.py). The connections
   come from Python, which also does the handshake. As in bare_loop.py nothing
   is checked beyond the sizes.  */

#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST = 196, FIELD_AT = 160, FIELD = 24, AMPLITUDE_AT = 24, ROOM = 1024, BATCH = 1024 };

/* Watch connections for input; each event carries the index. Returns the descriptor, or -1.  */
int
watch (const int *connections, int count)
{
  int epoll = epoll_create1 (EPOLL_CLOEXEC);
  for (int index = 0; epoll >= 0 && index < count; index++)
    {
      struct epoll_event event = { .events = EPOLLIN, .data.u32 = index };
      if (epoll_ctl (epoll, EPOLL_CTL_ADD, connections[index], &event))
        {
          close (epoll);
          return -1;
        }
    }
  return epoll;
}

/* Make `steps` steps; every field grows by `change` before each. Replies have
   `size` bytes. Amplitudes of the last step go to `amplitudes`. Returns 0 or -1 with errno.  */
int
run_steps (const int *connections, int count, const char *request, int size, double *fields, double change,
           double *amplitudes, long steps)
{
  int result = -1;
  int epoll = watch (connections, count);
  char *requests = malloc ((size_t) count * REQUEST);
  char *replies = malloc ((size_t) count * ROOM);
  int *got = malloc (count * sizeof *got);
  struct epoll_event events[BATCH];
  if (epoll < 0 || !requests || !replies || !got || size > ROOM)
    goto end;
  for (int index = 0; index < count; index++)
    memcpy (requests + (size_t) index * REQUEST, request, REQUEST);
  while (steps-- > 0)
    {
      for (int index = 0; index < count; index++)
        {
          char *one = requests + (size_t) index * REQUEST;
          for (int axis = 0; axis < 3; axis++)
            fields[3 * index + axis] += change;
          memcpy (one + FIELD_AT, fields + 3 * index, FIELD);
          got[index] = 0;
          if (send (connections[index], one, REQUEST, 0) != REQUEST)
            goto end;
        }
      for (int open = count; open > 0;)
        {
          int ready = epoll_wait (epoll, events, BATCH, -1);
          if (ready < 0 && errno != EINTR)
            goto end;
          for (int number = 0; number < ready; number++)
            {
              int index = events[number].data.u32;
              char *one = replies + (size_t) index * ROOM;
              ssize_t more = recv (connections[index], one + got[index], ROOM - got[index], 0);
              if (more <= 0)
                goto end;
              got[index] += more;
              if (got[index] == size)
                {
                  memcpy (amplitudes + 3 * index, one + AMPLITUDE_AT, FIELD);
                  open--;
                }
            }
        }
    }
  result = 0;
end:
  if (epoll >= 0)
    close (epoll);
  free (requests);
  free (replies);
  free (got);
  return result;
}

/* Answer whole requests until something else comes. Returns the index of that
   connection and in `got` what it sent (0 at its end, -1 for an error), or -1 with errno.  */
int
answer_requests (int epoll, const int *connections, const char *reply, int size, char *data, int room, long *got)
{
  struct epoll_event events[BATCH];
  for (;;)
    {
      int ready = epoll_wait (epoll, events, BATCH, -1);
      if (ready < 0 && errno != EINTR)
        return -1;
      for (int number = 0; number < ready; number++)
        {
          int index = events[number].data.u32;
          *got = recv (connections[index], data, room, 0);
          if (*got != REQUEST || data[0] != 'P')
            return index;
          if (send (connections[index], reply, size, 0) != size)
            {
              *got = -1;
              return index;
            }
        }
    }
}
