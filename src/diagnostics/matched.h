// The same tokens in a long context and in short ones, so that what differs between the two is context and position,
// and not the text.
#pragma once
#include "diagnostics/diagnostic.h"
#include "diagnostics/heads.h"

namespace qroar {

/// The tokens of one window, as the model sees them, and the document whose cluster they belong to.
struct ClusterWindow {
  int64_t cluster = 0;
  at::Tensor tokens_T;
};

/// Throws the Error of a diagnostic whose `short` contexts are no shorter than the cell's windows.
void check_short_context(const Config& config, int64_t short_length, int64_t window_length);

/// Returns spread_windows() of more than `short_length` tokens; throws an Error where the cell has none.
std::vector<ClusterWindow> matched_windows(const Config& config, const DiagnosticInput& input, int64_t short_length,
                                           int64_t count);

/// One window as the cell runs it (long) and cut into pieces of consecutive tokens, each alone at positions 0, 1, ...
/// (short).
///
/// Both run over the same rows [T, D] in the same order, and only their attention differs: what does not depend on
/// context, such as the queries of layer 0 before RoPE, has equal bits in both.  Where the feed puts BOS into every
/// window, every piece begins with it, as a short window of the cell would, and all read it from the window's row 0.
/// The first token of a context sees itself alone and takes the attention that has nowhere else to go (attention sinks:
/// Xiao et al. arXiv 2309.17453), with queries and keys far out in the tails.  Pieces have many such tokens and the
/// window has one, so the tokens at position 0 of a piece count in neither set.
class MatchedContexts {
 public:
  /// `short_length`: tokens of a piece, BOS included; the last piece may have fewer.  The pieces use the angles of a
  /// window of that length, the window those of its own.
  MatchedContexts(const at::Tensor& tokens_T, const Feed& feed, int64_t short_length, const AnglesOf& angles_of);

  /// Returns the number of tokens that count, and their rows.
  int64_t counted() const { return counted_R_.size(0); }
  const at::Tensor& counted_rows() const { return counted_R_; }

  /// Calls visit(place, x_RHd) as HeadsObserver does, with the rows of the tokens that count, each at its position in
  /// its piece or in the window.
  void visit_short(const Llama& model, const HeadsObserver::Visit& visit) const;
  void visit_long(const Llama& model, const HeadsObserver::Visit& visit) const;

  /// Attention within the pieces, one after the other, or within the window.
  Attention short_attention() const;
  Attention long_attention() const { return long_angles_; }
  const at::Tensor& tokens_T() const { return tokens_T_; }

 private:
  void run(const Llama& model, const Attention& attention, const ops::RopeAngles& angles,
           const HeadsObserver::Visit& visit) const;

  at::Tensor tokens_T_;
  std::vector<at::Tensor> pieces_;
  at::Tensor counted_R_, position_T_;  ///< rows; the position of every row in its piece
  ops::RopeAngles short_angles_, long_angles_;
};

}  // namespace qroar
