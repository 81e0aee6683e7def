// The main of all test programs.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

#include "support/data.h"

int main(int argc, char** argv) {
  const int result = Catch::Session().run(argc, argv);
  if (qroar::skipped_tests > 0) std::printf("%d tests SKIPPED: QROAR_DATA is not set\n", qroar::skipped_tests);
  return result;
}
