#include "run/environment.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <string_view>

#include "base/host.h"
#include "commit.h"
#include "ops/device.h"

namespace qroar {

std::string build_commit() { return QROAR_COMMIT; }

namespace {

/// How the variables begin that make MKL, oneDNN, ATen and NVIDIA's libraries use other code: MKL_CBWR,
/// ONEDNN_MAX_CPU_ISA, ATEN_CPU_CAPABILITY, TORCH_ALLOW_TF32_CUBLAS_OVERRIDE, CUBLAS_WORKSPACE_CONFIG ...  Others of
/// TORCH_ name folders and logs.
constexpr std::string_view kNumericPrefixes[] = {
    "MKL_",          "ONEDNN_",       "DNNL_",         "ATEN_",       "TORCH_ALLOW_TF32", "TORCH_BLAS_", "TORCH_CUDNN_",
    "TORCH_LINALG_", "TORCH_LINEAR_", "TORCH_MKLDNN_", "NVIDIA_TF32", "CUBLAS_",          "CUBLASLT_",   "CUDNN_"};

/// What decides last bits and is the same for everything that a machine computes.
constexpr const char* kOfMachine[] = {"torch", "device_name", "cpu_capability", "settings", "kernels"};

Json bits_of_machine(const Json& environment) {
  Json bits;
  for (const char* key : kOfMachine) bits[key] = environment[key];
  bits["device"] = environment["device"] == "cpu" ? "cpu" : "cuda";
  return bits;
}

/// Returns the variables that are set and begin so.
Json numeric_settings() {
  std::map<std::string, std::string> settings;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    const bool counts =
        std::ranges::any_of(kNumericPrefixes, [&](std::string_view begin) { return name.starts_with(begin); });
    if (counts && name != "MKL_NUM_THREADS") settings.emplace(name, text.substr(equals + 1));
  }
  return settings;
}

}  // namespace

Json deciding_bits(const Json& environment) {
  Json bits = bits_of_machine(environment);
  for (const char* key : {"commit", "dtype"}) bits[key] = environment[key];
  return bits;
}

Json machine_bits(const at::Device& device) { return bits_of_machine(describe_environment(device)); }

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
          {"cpu_capability", ops::cpu_capability()},
          {"settings", numeric_settings()},
          {"kernels", kernels},
          {"threads", at::get_num_threads()},
          {"host", host_name()},
          {"started", utc_now()}};
}

}  // namespace qroar
