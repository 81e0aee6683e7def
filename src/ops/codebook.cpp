// Fake quantization with 4-bit code books: the tables, the plain ATen reference and the choice between it and the CUDA
// kernel.  Contract: codebook.h.
#include "ops/codebook.h"

#include <array>
#include <cmath>

#include "base/error.h"
#include "ops/cuda/element.h"

namespace qroar::ops {
namespace {

constexpr CodeBook code_book(const std::array<float, 16>& values, float largest) {
  CodeBook book{};
  for (std::size_t i = 0; i < 16; ++i) book.codes[i] = values[i] / largest;
  for (std::size_t i = 0; i < 15; ++i) book.thresholds[i] = (book.codes[i] + book.codes[i + 1]) / 2.0f;
  return book;
}

}  // namespace

constexpr CodeBook kNf4 = code_book(
    {-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
     -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
     0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f},
    1.0f);

// Zero has two codes, +0 and -0.
constexpr CodeBook kFp4 =
    code_book({-12, -8, -6, -4, -3, -2, -0.0625f, 0, 0, 0.0625f, 2, 3, 4, 6, 8, 12}, /*largest=*/12);

constexpr CodeBook kAf4 =
    code_book({-1.0f, -0.69441008f, -0.51243739f, -0.3736951f, -0.25607552f, -0.14982478f, -0.04934812f, 0.0f,
               0.04273164f, 0.12934483f, 0.21961274f, 0.31675666f, 0.42563882f, 0.55496234f, 0.72424863f, 1.0f},
              1.0f);

const at::Tensor& dynamic_map() {
  static const at::Tensor map = [] {
    std::vector<at::Tensor> values{at::zeros({1}), at::ones({1})};
    for (int level = 0; level < 7; ++level) {
      const at::Tensor ends = at::linspace(0.1, 1, (1 << level) + 1, at::kFloat);
      const at::Tensor middles = (ends.slice(0, 0, -1) + ends.slice(0, 1)) / 2.0 * std::pow(10.0, level - 6);
      values.insert(values.end(), {middles, -middles});
    }
    return std::get<0>(at::sort(at::cat(values)));
  }();
  return map;
}

namespace reference {
namespace {

struct Blocks {
  at::Tensor values;  ///< [blocks, block], entries of the table
  at::Tensor absmax;  ///< [blocks, 1]
};

Blocks encode(const at::Tensor& flat, int64_t block, const at::Tensor& table, const at::Tensor& thresholds) {
  const int64_t blocks = (flat.numel() + block - 1) / block;
  const at::Tensor w = at::constant_pad_nd(flat, {0, blocks * block - flat.numel()}).view({blocks, block});
  const at::Tensor absmax = w.abs().amax(1, /*keepdim=*/true);
  const at::Tensor x = w * (at::ones_like(absmax) / absmax.clamp_min(1e-38));
  return {table.take(at::bucketize(x, thresholds)), absmax};
}

at::Tensor decode(const Blocks& blocks, int64_t count) {
  return (blocks.values * blocks.absmax).flatten().slice(0, 0, count);
}

at::Tensor mean_on_one_thread(const at::Tensor& flat) {
  constexpr int64_t kPiece = 32767;  // ATen adds fewer than 32768 values on one thread
  at::Tensor sum = at::zeros({});
  for (const at::Tensor& piece : flat.split(kPiece)) sum = sum + piece.sum();
  return sum / at::scalar_tensor(flat.numel(), at::kFloat);
}

/// Applies bitsandbytes' compress_statistics to the absmax of all blocks, [blocks, 1].  Runs on the CPU, as there are
/// few values and the order of summation is then the same for all devices.
at::Tensor compress(const at::Tensor& absmax) {
  const at::Tensor flat = absmax.cpu().flatten(), map = dynamic_map();
  const at::Tensor offset = mean_on_one_thread(flat);
  const at::Tensor thresholds = (map.slice(0, 0, -1) + map.slice(0, 1)) / 2.0;
  const at::Tensor rest = decode(encode(flat - offset, 256, map, thresholds), flat.numel());
  return (rest + offset).view_as(absmax).to(absmax.device());
}

}  // namespace

at::Tensor codebook_fake_quant(const at::Tensor& weight_OI, int64_t block, const CodeBook& book, bool double_quant) {
  const auto on_device = [&](at::ArrayRef<float> values) { return at::tensor(values).to(weight_OI.device()); };
  Blocks blocks = encode(weight_OI.to(at::kFloat).flatten(), block, on_device(book.codes), on_device(book.thresholds));
  if (double_quant) blocks.absmax = compress(blocks.absmax);
  return decode(blocks, weight_OI.numel()).view(weight_OI.sizes()).to(weight_OI.scalar_type());
}

}  // namespace reference

at::Tensor codebook_fake_quant(const at::Tensor& weight_OI, int64_t block, const CodeBook& book, bool double_quant) {
  check(weight_OI.dim() == 2 && weight_OI.is_contiguous(), "a code book takes a contiguous matrix");
#ifdef QROAR_HAVE_CUDA
  if (kernels_support(weight_OI) && !double_quant) {
    at::Tensor out = at::empty_like(weight_OI);
    check_launch("code book", kernels::codebook_fake_quant(weight_OI.const_data_ptr(), out.mutable_data_ptr(),
                                                           element_of(weight_OI), weight_OI.numel(), block, book));
    return out;
  }
#endif
  return reference::codebook_fake_quant(weight_OI, block, book, double_quant);
}

}  // namespace qroar::ops
