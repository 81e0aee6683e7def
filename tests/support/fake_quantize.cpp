// fake_quantize IN.safetensors QUANTIZER OUT: every tensor of IN (float32 matrices, in the order of their names)
// through the quantizer of a YAML snippet ("{type: nf4}"), written to OUT one after the other as raw float32.  For the
// peer tests.
#include <ATen/ATen.h>

#include <cstdio>
#include <fstream>

#include "checkpoint/safetensors.h"
#include "config/config.h"
#include "quant/quantizer.h"

namespace qroar {
namespace {

void run(const char* in, const char* snippet, const char* out) {
  const Config config = Config::parse(snippet, "QUANTIZER");
  const auto quantizer = Registry<Quantizer>::instance().build(config);
  check_all_read(config);
  const SafetensorsFile file(in);
  std::ofstream stream(out, std::ios::binary);
  for (const auto& [name, view] : file.tensors()) {
    if (view.dtype != Dtype::f32 || view.shape.size() != 2) fail("{}: {} is no float32 matrix", in, name);
    const at::Tensor weight = at::from_blob(const_cast<std::byte*>(view.data), view.shape, at::kFloat).clone();
    quantizer->check_site({name, weight.size(0), weight.size(1)});
    const at::Tensor quantized = quantizer->fake_quantize(weight);
    stream.write(static_cast<const char*>(quantized.const_data_ptr()), static_cast<std::streamsize>(view.bytes));
  }
  if (!stream.flush()) fail("cannot write {}", out);
}

}  // namespace
}  // namespace qroar

int main(int argc, char** argv) {
  try {
    if (argc != 4) qroar::fail("usage: fake_quantize IN.safetensors QUANTIZER OUT");
    qroar::run(argv[1], argv[2], argv[3]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "fake_quantize: %s\n", error.what());
    return 1;
  }
}
