// Dimensions: T tokens of a window, D hidden size.
#include "eval/followers.h"

#include <algorithm>
#include <bit>

#include "base/warn_once.h"

namespace qroar {
namespace {

using Place = std::pair<std::string, int64_t>;  // the id of a document and a token of it
Place place(const EvaluationInput& input, std::size_t window) {
  return {input.document_of(input.windows[window]).id, input.windows[window].begin};
}

bool begins_with(const ops::RopeAngles& angles, const ops::RopeAngles& shorter, int64_t length) {
  const ops::RopeAngles own = angles.slice(0, length), other = shorter.slice(0, length);
  return at::equal(own.cos_TP, other.cos_TP) && at::equal(own.sin_TP, other.sin_TP);
}

}  // namespace

Followers::Followers(const EvaluationInput& input, const PartStore& store, const std::vector<Companion>& companions)
    : input_(&input) {
  std::map<Place, std::vector<std::size_t>> places;
  for (std::size_t i = 0; i < input.windows.size(); ++i) {
    if (store.find(window_part(i)) == nullptr) places[place(input, i)].push_back(i);
  }
  for (const Companion& companion : companions) {
    for (std::size_t i = 0; i < companion.input.windows.size(); ++i) {
      if (companion.store.has(i)) continue;
      const std::vector<std::size_t>& here = places[place(companion.input, i)];
      const Follower follower{&companion, i};
      const auto whole = std::ranges::find_if(here, [&](std::size_t own) { return follows(follower, own); });
      if (whole == here.end()) {
        others_[&companion].insert(i);
      } else {
        followers_[*whole].push_back(follower);
      }
    }
  }
}

bool Followers::follows(const Follower& follower, std::size_t own) const {
  const EvaluationInput& other = follower.companion->input;
  const Window& window = input_->windows[own];
  const int64_t length = follower.tokens(), all = tokens_seen(window, input_->feed);
  if (length != all && (length > all || length % kPrefixTokens != 0)) return false;
  if (!at::equal(other.tokens(follower.own()), input_->tokens(window).slice(0, 0, length))) return false;
  return begins_with(input_->angles_of(all), other.angles_of(length), length) &&
         (input_->reference == nullptr ||
          begins_with(input_->reference->angles_of(all), other.reference->angles_of(length), length));
}

std::vector<Follower> Followers::of(std::size_t i, const at::Tensor& hidden_TD) {
  std::vector<Follower> followers = followers_[i];
  const auto is_shorter = [&](const Follower& follower) { return follower.tokens() < hidden_TD.size(0); };
  const auto shortest = std::ranges::min_element(followers, {}, &Follower::tokens);
  if (shortest == followers.end() || !is_shorter(*shortest)) return followers;
  const auto [exact, is_new] = exact_.try_emplace(std::bit_width(static_cast<uint64_t>(hidden_TD.size(0))));
  if (is_new) exact->second = gives_same_bits(*shortest, hidden_TD);
  if (!exact->second) std::erase_if(followers, is_shorter);
  return followers;
}

bool Followers::gives_same_bits(const Follower& follower, const at::Tensor& hidden_TD) const {
  const at::Tensor tokens_T = follower.companion->input.tokens(follower.own());
  const at::Tensor alone_TD = forward(input_->model, tokens_T, input_->angles_of(tokens_T.size(0)));
  if (at::equal(alone_TD, hidden_TD.slice(0, 0, tokens_T.size(0)))) return true;
  warn_once(
      "on this processor the first tokens of a window have other last bits than alone; each length is evaluated by "
      "itself");
  return false;
}

bool Followers::are_without(const Companion& companion, std::size_t window) const {
  const auto own = others_.find(&companion);
  return own != others_.end() && own->second.contains(window);
}

}  // namespace qroar
