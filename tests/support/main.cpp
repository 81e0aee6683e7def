// The main of all test programs; exit code 77, which CTest shows as skipped, when all passed that did not lack data.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

#include "support/data.h"

int main(int argc, char** argv) {
  const int result = Catch::Session().run(argc, argv);
  return result == 0 && qroar::skipped_tests > 0 ? 77 : result;
}
