#include "diagnostics/matched.h"

#include "base/error.h"

namespace qroar {

void check_short_context(const Config& config, int64_t short_length, int64_t window_length) {
  if (short_length < window_length) return;
  config.fail(fmt::format("short contexts of {} tokens are no shorter than the cell's of {}; take `short: {}` or less",
                          short_length, window_length, std::max<int64_t>(2, window_length / 2)));
}

std::vector<ClusterWindow> matched_windows(const Config& config, const DiagnosticInput& input, int64_t short_length,
                                           int64_t count) {
  std::vector<ClusterWindow> found;
  for (const Window& window : input.spread_windows(count, short_length + 1)) {
    found.push_back({input.cluster_of(window), input.tokens_T(window)});
  }
  if (found.empty()) {
    config.fail(fmt::format(
        "no window of the cell has more than the {} tokens of a short context; take a smaller `short`, or longer texts",
        short_length));
  }
  return found;
}

MatchedContexts::MatchedContexts(const at::Tensor& tokens_T, const Feed& feed, int64_t short_length,
                                 const AnglesOf& angles_of)
    : tokens_T_(tokens_T),
      position_T_(at::zeros_like(tokens_T)),
      short_angles_(angles_of(std::min(short_length, tokens_T.size(0)))),
      long_angles_(angles_of(tokens_T.size(0))) {
  check(short_length >= 2, "a context has a token that counts");
  const bool has_bos = feed.bos == Bos::every || feed.bos == Bos::replace;
  const at::Tensor row_T = at::arange(tokens_T.size(0), tokens_T.options()), bos_1 = row_T.slice(0, 0, 1);
  const int64_t step = short_length - (has_bos ? 1 : 0);
  std::vector<at::Tensor> counted;
  for (int64_t begin = has_bos ? 1 : 0; begin < tokens_T.size(0); begin += step) {
    const at::Tensor own_R = row_T.slice(0, begin, begin + step), piece_R = has_bos ? at::cat({bos_1, own_R}) : own_R;
    position_T_.index_copy_(0, piece_R, row_T.slice(0, 0, piece_R.size(0)));
    counted.push_back(piece_R.slice(0, 1));
    pieces_.push_back(piece_R);
  }
  counted_R_ = at::cat(counted);
}

Attention MatchedContexts::short_attention() const {
  return Attention([pieces = pieces_, angles = short_angles_](const DecoderLayer& layer, const at::Tensor& q_THd,
                                                              const at::Tensor& k_TKd, const at::Tensor& v_TKd) {
    at::Tensor mixed_THd = at::empty_like(q_THd);
    for (const at::Tensor& rows_R : pieces) {
      const auto own = [&](const at::Tensor& x) { return x.index_select(0, rows_R); };
      mixed_THd.index_copy_(0, rows_R, attend(layer, angles, own(q_THd), own(k_TKd), own(v_TKd)));
    }
    return mixed_THd;
  });
}

void MatchedContexts::run(const Llama& model, const Attention& attention, const ops::RopeAngles& angles,
                          const HeadsObserver::Visit& visit) const {
  HeadsObserver observer(model, angles, [&](const HeadsPlace& place, const at::Tensor& x_THd) {
    visit(place, x_THd.index_select(0, counted_R_));
  });
  forward(model, tokens_T_, attention, &observer);
}

void MatchedContexts::visit_short(const Llama& model, const HeadsObserver::Visit& visit) const {
  const ops::RopeAngles angles{short_angles_.cos_TP.index_select(0, position_T_),
                               short_angles_.sin_TP.index_select(0, position_T_)};
  run(model, short_attention(), angles, visit);
}

void MatchedContexts::visit_long(const Llama& model, const HeadsObserver::Visit& visit) const {
  run(model, long_attention(), long_angles_, visit);
}

}  // namespace qroar
