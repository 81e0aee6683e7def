// The inner part of attention on each instruction set that this processor has, against float64: dispatched alone, the
// older one would never run here.
#include <ATen/ATen.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "ops/cpu/attention_kernel.h"
#include "ops/cpu/instruction_sets.h"
#include "support/catch.h"

#ifdef __x86_64__
using namespace qroar::ops::cpu;

namespace {

const Bf16* bits_of(const at::Tensor& x) { return reinterpret_cast<const Bf16*>(x.data_ptr<at::BFloat16>()); }

/// One head: queries [kBlockRows, d], keys and values [N, d]; row r sees keys [first[r], position[r]].
struct Problem {
  at::Tensor query, key, value;
  std::vector<int64_t> first, position;

  at::Tensor by(const AttentionKernel& kernel) const {
    const int64_t tokens = key.size(0), dim = key.size(1), tiles = (tokens + kKeyTile - 1) / kKeyTile;
    const at::Tensor words = at::empty({2, tiles * kKeyTile * dim / 2}, at::kInt), queries = query.clone(),
                     mixed = at::empty({kBlockRows, dim}, at::kFloat);
    auto* packed = reinterpret_cast<Bf16Pair*>(words.data_ptr<int>());
    const PackedHead head{packed, packed + words.size(1)};
    for (int64_t tile = 0; tile < tiles; ++tile)
      pack_tile({bits_of(key), dim}, {bits_of(value), dim}, tile, tokens, dim, head);
    QueryBlock block{};
    block.rows = kBlockRows;
    block.dim = dim;
    block.queries = reinterpret_cast<Bf16Pair*>(queries.data_ptr<at::BFloat16>());
    block.mixed = mixed.data_ptr<float>();
    std::ranges::copy(first, block.first);
    std::ranges::copy(position, block.position);
    start(block);
    const auto scale = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(dim)));
    kernel.attend(block, 0, kBlockRows, head, scale);
    at::Tensor out = at::empty_like(query);
    for (int64_t row = 0; row < kBlockRows; ++row)
      write_row(block, row, reinterpret_cast<Bf16*>(out.data_ptr<at::BFloat16>()) + row * dim);
    return out;
  }

  at::Tensor exactly() const {
    const at::Tensor q = query.to(at::kDouble), k = key.to(at::kDouble), v = value.to(at::kDouble);
    at::Tensor scores = q.matmul(k.t()) / std::sqrt(static_cast<double>(k.size(1)));
    const at::Tensor keys = at::arange(k.size(0), at::kLong);
    for (std::size_t row = 0; row < first.size(); ++row) {
      const at::Tensor unseen = (keys < first[row]).logical_or(keys > position[row]);
      scores[static_cast<int64_t>(row)].masked_fill_(unseen, -std::numeric_limits<double>::infinity());
    }
    return scores.softmax(1).matmul(v);
  }
};

}  // namespace

TEST_CASE("attention's kernels keep to float64 on every instruction set of this processor") {
  std::vector<std::pair<const char*, const AttentionKernel*>> kernels;
  if (has_avx512_bf16()) kernels.emplace_back("AVX512-BF16", &kAvx512Attention);
  if (has_amx_bf16()) kernels.emplace_back("AMX-BF16", &kAmxAttention);
  at::manual_seed(3);
  for (const int64_t dim : {64, 128, 192, 256}) {
    for (const int64_t window : {0, 1, 100}) {  // keys that a row sees, 0: all before it
      for (const double spread : {1.0, 8.0}) {  // of queries: scores to some tens, whose maximum rises on the way
        const int64_t tokens = 1001;
        const auto random = [&](int64_t rows) { return at::randn({rows, dim}).to(at::kBFloat16); };
        Problem problem{random(kBlockRows) * spread, random(tokens), random(tokens), {}, {}};
        for (int64_t row = 0; row < kBlockRows; ++row) {
          problem.position.push_back(tokens - kBlockRows / 3 + row / 3);
          problem.first.push_back(window == 0 ? 0 : problem.position.back() + 1 - window);
        }
        const at::Tensor want = problem.exactly();
        const double allowed = problem.value.abs().max().item<double>() * (2 * 0x1p-8 + 0x1p-16);
        for (const auto& [name, kernel] : kernels) {
          INFO(name << ", " << dim << " channels, window " << window << ", spread " << spread);
          REQUIRE(kBlockRows % kernel->row_tile == 0);
          const at::Tensor got = problem.by(*kernel);
          CHECK((got.to(at::kDouble) - want).abs().max().item<double>() <= allowed);
          CHECK(at::equal(got, problem.by(*kernel)));
        }
      }
    }
  }
}
#endif
