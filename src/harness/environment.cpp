#include "harness/environment.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/headeronly/version.h>

#include "base/host.h"
#include "commit.h"
#include "ops/device.h"

namespace qroar {

std::string build_commit() { return QROAR_COMMIT; }

Json describe_environment(const at::Device& device) {
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
          {"host", host_name()},
          {"started", utc_now()}};
}

}  // namespace qroar
