// tests/support/main.cpp - Catch2's main, compiled once.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>

#if defined(__SANITIZE_THREAD__)
// libvirt and glib are not built with the sanitizer: it sees their locks but not their atomic
// counters.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:libvirt.so\nrace:libglib-2.0.so\nmutex:libvirt.so\n";
}
#endif
