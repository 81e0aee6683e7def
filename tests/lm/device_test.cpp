// What the program asks of the machine's memory.
#include "ops/device.h"

#include <c10/core/CPUAllocator.h>
#include <sys/resource.h>

#include <cstring>

#include "support/catch.h"

namespace qroar {
namespace {

/// Pages that the system cleared for this process until now.
int64_t cleared_pages() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

TEST_CASE("what a layer's tensors leave is there for the next layer's, and is not cleared anew") {
  ops::keep_freed_memory();
  const auto layers = [](int count) {
    for (int layer = 0; layer < count; ++layer) {
      std::vector<at::DataPtr> blocks;
      for (int i = 0; i < 5; ++i) {
        blocks.push_back(c10::GetCPUAllocator()->allocate(24 << 20));  // 6144 pages each
        std::memset(blocks.back().get(), 1, 24 << 20);
      }
    }
  };
  layers(20);  // the heap grows until aligned blocks fit into the holes that blocks of their size leave
  const int64_t before = cleared_pages();
  layers(6);
  CHECK(cleared_pages() - before < 6144);
}

}  // namespace
}  // namespace qroar
