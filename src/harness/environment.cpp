#include "harness/environment.h"

#include <ATen/Version.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <chrono>

#include "commit.h"
#include "ops/device.h"

namespace qroar {

std::string build_commit() { return QROAR_COMMIT; }

Json describe_environment(const at::Device& device) {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  const auto now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  char started[32] = {};
  std::strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
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
          {"started", started}};
}

}  // namespace qroar
