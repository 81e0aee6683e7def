// GPTQ (Frantar et al. arXiv 2210.17323; rules of IST-DASLab/gptq's gptq.py; docs/method.md 7.3): rounds one input
// channel after the other and distributes each error over the remaining channels by the Hessian H = 2/n sum x x' of the
// layer's squared output error.  Inputs come from the quantized preceding layers, and within a layer in the order (q,
// k, v), o, (gate, up), down.  Hessians are summed in float32 and inverted in float64; weights are updated in float32.
#include <ATen/Parallel.h>
#include <ATen/ops/cholesky_inverse.h>
#include <ATen/ops/linalg_cholesky_ex.h>

#include <cmath>
#include <functional>

#include "base/error.h"
#include "quant/calibrated.h"

namespace qroar {
namespace {

constexpr int64_t kBlock = 128;  ///< channels per block: errors reach the channels after the block only at its end

struct GptqKeys {
  double percdamp;
  bool act_order, static_groups;
  at::ScalarType scale_dtype;
};

/// Returns make() of one thread: the last bits of MKL's factorizations depend on the number of threads that share one.
/// Inside a parallel region it takes no others, and ATen begins one for two tasks or more.
at::Tensor on_one_thread(const std::function<at::Tensor()>& make) {
  at::Tensor made;
  at::parallel_for(0, 2, 1, [&](int64_t begin, int64_t) {
    if (begin == 0) made = make();
  });
  return made;
}

/// Returns the upper Cholesky factor of the damped Hessian's inverse, float32 [I, I].
at::Tensor inverse_factor(const at::Tensor& hessian_II, double percdamp, const std::string& site) {
  at::Tensor matrix_II = hessian_II.to(at::kDouble, /*non_blocking=*/false, /*copy=*/true);
  at::Tensor diagonal_I = matrix_II.diagonal();
  diagonal_I.add_(percdamp * diagonal_I.mean());
  diagonal_I.reset();  // which would keep the matrix while its factors are made
  const auto factor = [&](bool upper) {
    const auto [factor_II, info] = at::linalg_cholesky_ex(matrix_II, upper);
    if (info.item<int>() != 0 || !std::isfinite(factor_II.sum().item<double>())) {
      fail(
          "gptq: the Hessian of {} is not positive definite even after damping by {} of its mean diagonal; raise "
          "percdamp or calibration.samples",
          site, percdamp);
    }
    return factor_II;
  };
  // Rounding decides which of the two a nearly singular one fails.
  matrix_II = factor(/*upper=*/false);
  matrix_II = at::cholesky_inverse(matrix_II);
  return factor(/*upper=*/true).to(at::kFloat);
}

/// Quantizes the weight of one layer, column by column, for inputs with this Hessian.
class ColumnWalk {
 public:
  ColumnWalk(const Linear& linear, at::Tensor hessian_II, const Rtn& rtn, const GptqKeys& keys)
      : rtn_(rtn), keys_(keys), w_OI_(linear.weight_OI.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true)) {
    const at::Tensor dead = hessian_II.diagonal() == 0;
    hessian_II.diagonal().masked_fill_(dead, 1);
    w_OI_.masked_fill_(dead.unsqueeze(0), 0);
    if (keys.static_groups) {
      for (int64_t first = 0; first < columns(); first += group()) static_.push_back(scale_of(w_OI_, first));
    }
    order_ = keys.act_order ? at::argsort(hessian_II.diagonal(), /*stable=*/true, 0, /*descending=*/true)
                            : at::arange(columns(), hessian_II.options().dtype(at::kLong));
    if (keys.act_order) {
      w_OI_ = w_OI_.index_select(1, order_);
      hessian_II = hessian_II.index_select(0, order_).index_select(1, order_);
    }
    factor_II_ = on_one_thread([&] { return inverse_factor(hessian_II, keys.percdamp, linear.site); });
  }

  at::Tensor quantized() {
    const at::Tensor place = order_.to(at::kCPU);
    at::Tensor q_OI = at::empty_like(w_OI_);
    ops::RtnScale scale;
    for (int64_t begin = 0; begin < columns(); begin += kBlock) {
      const int64_t count = std::min(kBlock, columns() - begin);
      const at::Tensor factor = factor_II_.narrow(0, begin, count).narrow(1, begin, count);
      at::Tensor block = w_OI_.narrow(1, begin, count).clone(), errors = at::empty_like(block);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t column = begin + i;
        if (keys_.static_groups) {
          scale = static_[static_cast<std::size_t>(place[column].item<int64_t>() / group())];
        } else if (column % group() == 0) {
          scale = scale_of(w_OI_, column);  // without the errors of this block's columns, as in gptq.py
        }
        const at::Tensor w_O1 = block.narrow(1, i, 1);
        const at::Tensor rounded = ops::rtn_round(w_O1, scale);
        // The error that is fed back is that of the float32 grid; its code is stored with a scale of fewer bits.
        q_OI.narrow(1, column, 1).copy_(keys_.scale_dtype == at::kFloat ? rounded : stored(w_O1, scale));
        const at::Tensor error = (w_O1 - rounded) / factor[i][i];
        errors.narrow(1, i, 1).copy_(error);
        block.narrow(1, i, count - i).addmm_(error, factor.narrow(0, i, 1).narrow(1, i, count - i), 1, -1);
      }
      const int64_t rest = columns() - begin - count;
      if (rest > 0) {
        w_OI_.narrow(1, begin + count, rest)
            .addmm_(errors, factor_II_.narrow(0, begin, count).narrow(1, begin + count, rest), 1, -1);
      }
    }
    return keys_.act_order ? q_OI.index_select(1, at::argsort(order_)) : q_OI;
  }

 private:
  int64_t columns() const { return w_OI_.size(1); }
  int64_t group() const { return rtn_.group() > 0 ? rtn_.group() : columns(); }
  at::Tensor stored(const at::Tensor& w_O1, const ops::RtnScale& scale) const {
    return ops::rtn_round(w_O1, scale, scale.scale.to(keys_.scale_dtype).to(at::kFloat));
  }
  ops::RtnScale scale_of(const at::Tensor& w_OI, int64_t first) const {
    ops::RtnGrid grid = rtn_.grid();
    grid.arithmetic = ops::RtnArithmetic::float32;
    return ops::rtn_scale(w_OI.narrow(1, first, std::min(group(), columns() - first)), grid);
  }

  const Rtn& rtn_;
  GptqKeys keys_;
  at::Tensor w_OI_, order_, factor_II_;
  std::vector<ops::RtnScale> static_;
};

/// Sums the Hessian of the inputs of a stage's layers, then quantizes them.
class GptqCalibrator : public LayerCalibrator {
 public:
  GptqCalibrator(const LayerContext& context, const Rtn& rtn, const GptqKeys& keys)
      : context_(context), rtn_(rtn), keys_(keys) {}

  void on_input(std::string_view site, const at::Tensor& x_RI) override {
    if (!reads(site)) return;
    const int64_t inputs = x_RI.size(1);
    if (!sum_II_.defined()) sum_II_ = at::zeros({inputs, inputs}, x_RI.options().dtype(at::kFloat));
    ops::add_gram(sum_II_, x_RI);
  }

  void end_stage(std::size_t stage, DecoderLayer& layer) override {
    if (!sum_II_.defined()) return;
    sum_II_.triu_().mul_(2 / static_cast<double>(context_.samples * context_.length));
    const at::Tensor hessian_II = sum_II_ + sum_II_.triu(1).t();
    sum_II_ = at::Tensor();
    for (const auto member : kStages[stage]) {
      Linear& linear = layer.*member;
      if (!context_.takes(linear.site)) continue;
      const auto dtype = linear.weight_OI.scalar_type();
      linear.weight_OI = ColumnWalk(linear, hessian_II.clone(), rtn_, keys_).quantized().to(dtype);
      found_[name_in_layer(linear.site)] = linear.weight_OI;
    }
  }

  TensorMap found() override { return found_; }

 private:
  /// Returns whether the site is the first of a stage that has a layer to quantize: the others read the same.
  bool reads(std::string_view site) const {
    return std::ranges::any_of(kStages, [&](const auto& stage) {
      return (context_.layer.*stage.front()).site == site &&
             std::ranges::any_of(stage, [&](auto member) { return context_.takes((context_.layer.*member).site); });
    });
  }

  LayerContext context_;
  const Rtn& rtn_;
  GptqKeys keys_;
  at::Tensor sum_II_;
  TensorMap found_;
};

class Gptq : public CalibratedQuantizer {
 public:
  explicit Gptq(const Config& config)
      : CalibratedQuantizer(config, {.zero = ops::RtnZero::included}),
        keys_{config.get<double>("percdamp", 0.01, {0, 1}), config.get<bool>("act_order", false),
              config.get<bool>("static_groups", false), ops::rtn_dtype(rtn_.grid())} {
    if (rtn_.group() < 0) config.at("group").fail("gptq rounds rows apart; take a size or 0 for one group a row");
  }

  bool sees_quantized_inputs() const override { return true; }

  std::unique_ptr<LayerCalibrator> watch(const LayerContext& context) const override {
    return std::make_unique<GptqCalibrator>(context, rtn_, keys_);
  }

  /// The Hessian and its copy in float32, a matrix and its inverse in float64; the weight as it is read and rounded.
  int64_t calibration_bytes(const LinearSite& site, int64_t) const override {
    return 28 * site.columns * site.columns + 8 * site.rows * site.columns;
  }

  void apply(DecoderLayer& layer, const TakesSite& takes, const TensorMap& found) const override {
    for (const auto member : kLayerLinears) {
      Linear& linear = layer.*member;
      if (!takes(linear.site)) continue;
      linear.change([quantized_OI = found.at(name_in_layer(linear.site))](const at::Tensor& weight_OI) {
        return quantized_OI.to(weight_OI.device());
      });
    }
  }

 private:
  GptqKeys keys_;
};

const Register<Quantizer, Gptq> kGptq{
    "gptq", "error feedback through the Hessian, rtn grids with zero: included (arXiv 2210.17323); needs `calibration`",
    "{type: gptq, bits: 4, group: 64, symmetric: false, percdamp: 0.01, act_order: false, static_groups: false}"};

}  // namespace
}  // namespace qroar
