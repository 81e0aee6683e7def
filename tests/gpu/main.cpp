// The main of the tests that need a GPU: exit code 77, which CTest shows as skipped, where there is none.
#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif

#include <cstdio>

namespace qroar::ops {
bool cuda_available();
}

int main(int argc, char** argv) {
  if (!qroar::ops::cuda_available()) {
    std::puts("SKIPPED: no CUDA device");
    return 77;
  }
  return Catch::Session().run(argc, argv);
}
