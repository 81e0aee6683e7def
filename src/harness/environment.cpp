#include "harness/environment.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <chrono>
#include <ctime>

#include "commit.h"
#include "ops/device.h"

namespace qroar {

std::string build_commit() { return QROAR_COMMIT; }

Json describe_environment(const at::Device& device) {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  const std::time_t seconds = milliseconds / 1000;
  char second[32] = {};
  std::strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", std::gmtime(&seconds));
#ifdef QROAR_HAVE_CUDA
  const char* kernels = "cuda";
#else
  const char* kernels = "none";
#endif
  return {{"program", "qroar " QROAR_VERSION},
          {"commit", build_commit()},
          {"torch", TORCH_VERSION},
          {"device", device.str()},
          {"device_name", ops::device_name(device)},
          {"cpu_capability", at::get_cpu_capability()},
          {"kernels", kernels},
          {"threads", at::get_num_threads()},
          {"host", host},
          {"started", fmt::format("{}.{:03}Z", second, milliseconds % 1000)}};
}

}  // namespace qroar
