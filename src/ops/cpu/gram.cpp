#include "ops/cpu/gram.h"

#include <ATen/Parallel.h>

#include <algorithm>

#include "ops/cpu/gram_kernel.h"
#include "ops/cpu/instruction_sets.h"
#include "ops/cpu/row_steps.h"

namespace qroar::ops::cpu {

bool can_add_gram(const at::Tensor& x_RI) { return has_avx512_bf16() && is_bfloat16_on_cpu(x_RI); }

void add_gram(at::Tensor& sum_II, const at::Tensor& x_RI) {
  const int64_t rows = x_RI.size(0), inputs = x_RI.size(1), pairs = (rows + 1) / 2;
  const int64_t panels = (inputs + kGramPanel - 1) / kGramPanel;
  const at::Tensor packed = at::empty({panels, pairs * kGramPanel}, at::kInt);
  const auto panel = [&](int64_t i) {
    return reinterpret_cast<uint32_t*>(packed.data_ptr<int>()) + i * pairs * kGramPanel;
  };
  const auto width = [&](int64_t i) { return std::min(kGramPanel, inputs - i * kGramPanel); };
  at::parallel_for(0, panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      pack_gram_panel(bits(x_RI) + i * kGramPanel, x_RI.stride(0), rows, width(i), panel(i));
  });
  float* sum = sum_II.data_ptr<float>();
  at::parallel_for(0, panels * panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t i = block / panels, j = block % panels;
      if (j < i) continue;
      float products[kGramPanel * kGramPanel] = {};
      add_products(panel(i), panel(j), pairs, products);
      for (int64_t r = 0; r < width(i); ++r) {
        float* row = sum + (i * kGramPanel + r) * sum_II.stride(0) + j * kGramPanel;
        for (int64_t c = 0; c < width(j); ++c) row[c] += products[r * kGramPanel + c];
      }
    }
  });
}

}  // namespace qroar::ops::cpu
