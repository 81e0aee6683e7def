#include "run/shared_passes.h"

#include <algorithm>

#include "ops/device.h"
#include "run/memory.h"

namespace qroar {
namespace {

constexpr const char* kFrom = "scored_with";

const Document& document_of(const Cell& cell, const Window& window) {
  return cell.data->documents[static_cast<std::size_t>(window.document)];
}

/// Returns whether a window of one cell is the beginning of the other cell's, of the same document.
bool begins(const Cell& longer, const Window& whole, const Cell& shorter, const Window& part) {
  const Job &ours = *longer.job, &theirs = *shorter.job;
  const int64_t all = tokens_seen(whole, ours.data.windows.feed), length = tokens_seen(part, theirs.data.windows.feed);
  if (length > all || (length < all && length % kPrefixTokens != 0)) return false;
  const auto own = document_of(longer, whole).tokens.begin() + whole.begin;
  const auto other = document_of(shorter, part).tokens.begin() + part.begin;
  if (!std::equal(other, other + length - theirs.data.windows.feed.added(), own)) return false;
  return ours.method.rope->table(ours.method.geometry, all) ==
         theirs.method.rope->table(theirs.method.geometry, length);
}

/// Returns what cells that may share passes have alike: the model, the reference and the texts, as far as they are
/// known before the model is built; empty for one that shares none, as one that searches scales has models of its own.
std::string alike(const Cell& cell) {
  const Job& job = *cell.job;
  if (!job.model.open_error.empty() || cell.data == nullptr || job.method.search) return "";
  Json key{job.method.quantization.key, job.needs_reference(), cell.data->hash,
           static_cast<int64_t>(job.data.windows.feed.bos)};
  for (const char* block : {"/model", "/reference", "/rescale", "/seed"}) key.push_back(value_at(job.resolved, block));
  return key.dump();
}

}  // namespace

bool profits(const Cell& first, const Cell& other) {
  const std::string key = alike(first);
  if (key.empty() || key != alike(other)) return false;
  if (is_streamed(first, ops::parse_device(first.job->model.spec.device))) return true;
  LongerWindows windows;
  windows.add(first);
  return std::ranges::any_of(other.windows, [&](const Window& part) { return windows.hold(other, part); });
}

void LongerWindows::add(const Cell& cell) {
  for (const Window& window : cell.windows) windows_[place(cell, window)].emplace_back(&cell, &window);
}

bool LongerWindows::hold(const Cell& cell, const Window& part) const {
  const auto here = windows_.find(place(cell, part));
  const auto is_whole = [&](const auto& whole) { return begins(*whole.first, *whole.second, cell, part); };
  return here != windows_.end() && std::ranges::any_of(here->second, is_whole);
}

LongerWindows::Place LongerWindows::place(const Cell& cell, const Window& window) {
  return {document_of(cell, window).id, window.begin};
}

double PassCount::flops(const Cell& cell) {
  if (last_ != nullptr && last_->job->shared != cell.job->shared) earlier_.clear();
  last_ = &cell;
  double sum = cell.flops();
  const std::string key = alike(cell);
  if (key.empty()) return sum;
  LongerWindows& earlier = earlier_[key];
  for (const Window& part : cell.windows) {
    if (earlier.hold(cell, part)) sum -= cell.flops(part);
  }
  earlier.add(cell);
  return sum;
}

void PartsForAnother::add(std::size_t window, const Json& result, double seconds) {
  if (!claim_.is_held()) return;  // another process took the cell over and evaluates it
  Json kept = result;
  kept[kFrom] = first_;
  partial_->add(window_part(window), kept, seconds);
}

std::string PartsForAnother::origin(const PartialCell& partial, std::size_t windows) {
  for (std::size_t i = 0; i < windows; ++i) {
    const Json* part = partial.find(window_part(i));
    if (part != nullptr && part->contains(kFrom)) return (*part)[kFrom];
  }
  return "";
}

}  // namespace qroar
