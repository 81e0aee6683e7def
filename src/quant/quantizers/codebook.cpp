// nf4, fp4, af4: 4-bit codebooks in blocks of the flattened weight with one float32 absmax each, as in bitsandbytes.
// The arithmetic and its sources: ops/codebook.h.
#include "ops/codebook.h"

#include <array>

#include "quant/groups.h"
#include "quant/quantizer.h"

namespace qroar {
namespace {

class CodeBookQuantizer : public Quantizer {
 public:
  CodeBookQuantizer(const Config& config, const ops::CodeBook& book)
      : book_(book), block_(config.get<int64_t>("block", 64)), double_quant_(config.get<bool>("double_quant", false)) {
    if (block_ < 32 || block_ > 4096 || (block_ & (block_ - 1)) != 0) {
      config.at("block").fail(fmt::format("{} is no power of two from 32 to 4096", block_));
    }
  }

  void check_site(const LinearSite&) const override {}

  at::Tensor fake_quantize(const at::Tensor& weight_OI) const override {
    return ops::codebook_fake_quant(weight_OI, block_, book_, double_quant_);
  }

  std::vector<at::Tensor> groups(const at::Tensor& x_RC) const override { return {rows_of_groups(block_, x_RC)}; }

  double bits_per_weight(const LinearSite& site) const override {
    const int64_t weights = site.rows * site.columns, blocks = (weights + block_ - 1) / block_;
    const int64_t scale_bits = double_quant_ ? 8 * blocks + 32 * ((blocks + 255) / 256) + 32 : 32 * blocks;
    return 4 + static_cast<double>(scale_bits) / static_cast<double>(weights);
  }

  std::optional<std::string> couples_rows(const LinearSite& site) const override {
    if (double_quant_) return "double_quant rounds the scales of all rows together; write double_quant: false";
    if (site.columns % block_ == 0) return std::nullopt;
    return fmt::format("blocks of {} cross rows of {}; take another block or type, such as rtn with group: 0", block_,
                       site.columns);
  }
  RowScaling commutes_with_row_scaling(const LinearSite& site) const override {
    return couples_rows(site) ? RowScaling::differs : RowScaling::any;
  }
  bool idempotent() const override { return !double_quant_; }

 protected:
  int64_t block() const { return block_; }

 private:
  const ops::CodeBook& book_;
  int64_t block_;
  bool double_quant_;
};

struct Nf4 : CodeBookQuantizer {
  explicit Nf4(const Config& config) : CodeBookQuantizer(config, ops::kNf4) {}
};

struct Fp4 : CodeBookQuantizer {
  explicit Fp4(const Config& config) : CodeBookQuantizer(config, ops::kFp4) {}
};

struct Af4 : CodeBookQuantizer {
  explicit Af4(const Config& config) : CodeBookQuantizer(config, ops::kAf4) {
    if (block() != 64) config.at("block").fail("af4's table is made for blocks of 64 and no others");
  }
};

const Register<Quantizer, Nf4> kNf4{"nf4",
                                    "normal floats (QLoRA, bitsandbytes); double_quant: the scales in 8 bits too",
                                    "{type: nf4, block: 64, double_quant: false}"};
const Register<Quantizer, Fp4> kFp4{"fp4", "bitsandbytes' 4-bit floats, tables and blocks as for nf4",
                                    "{type: fp4, block: 64, double_quant: false}"};
const Register<Quantizer, Af4> kAf4{"af4", "abnormal floats (arXiv 2306.06965), blocks of 64 as for nf4",
                                    "{type: af4, block: 64, double_quant: false}"};

}  // namespace
}  // namespace qroar
