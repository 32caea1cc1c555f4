// base/check.h - ends the process when one of our own invariants is broken; in every build.
// Guest, network, file and user input never reach it: those are errors (base/status.h).
#pragma once

#include <cstdio>
#include <cstdlib>

#define REEVE_CHECK(condition)                                                               \
  do {                                                                                       \
    if (!(condition)) {                                                                      \
      std::fprintf(stderr, "%s:%d: broken invariant: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)
