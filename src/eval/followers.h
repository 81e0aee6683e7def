// Windows of companions (eval/evaluate.h) that are the beginnings of windows of one evaluation.
#pragma once
#include <map>
#include <set>
#include <vector>

#include "eval/evaluate.h"

namespace qroar {

/// A companion's window that is a prefix of one of ours.
struct Follower {
  const Companion* companion;
  std::size_t window;

  const Window& own() const { return companion->input.windows[window]; }
  int64_t tokens() const { return tokens_seen(own(), companion->input.feed); }
};

class Followers {
 public:
  Followers() = default;
  /// Looks for followers of those windows that `store` does not hold yet.
  Followers(const EvaluationInput& input, const PartStore& store, const std::vector<Companion>& companions);

  /// Returns the followers of window i with these final hidden states [T, D].  The first time that one is shorter than
  /// a window between two powers of two, where kernels may change, takes it through the model alone: where the bits
  /// differ, this and later calls return no shorter ones of such a window.
  std::vector<Follower> of(std::size_t i, const at::Tensor& hidden_TD);
  /// Returns whether a companion's window that is not finished is no follower.
  bool are_without(const Companion& companion, std::size_t window) const;

 private:
  bool follows(const Follower& follower, std::size_t own) const;
  bool gives_same_bits(const Follower& follower, const at::Tensor& hidden_TD) const;

  const EvaluationInput* input_ = nullptr;
  std::map<std::size_t, std::vector<Follower>> followers_;    ///< by our window
  std::map<const Companion*, std::set<std::size_t>> others_;  ///< companions' windows that follow none of ours
  std::map<int, bool> exact_;                                 ///< gives_same_bits(), by the bits of the window's length
};

}  // namespace qroar
