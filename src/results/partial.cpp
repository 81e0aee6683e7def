#include "results/partial.h"

#include "base/hash.h"

namespace qroar {
namespace {

constexpr const char* kName = "partial.jsonl";

}  // namespace

PartialCell::PartialCell(const std::filesystem::path& cell, const Json& inputs, bool restart,
                         std::function<void()> check)
    : check_(std::move(check)), log_(cell / kName), inputs_hash_(hash_bytes(inputs.dump())) {
  if (restart || log_.lines().empty() || value_at(log_.lines().front(), "/inputs") != inputs) {
    log_.clear();
    log_.append({{"inputs", inputs}});
  }
  for (const Json& line : log_.lines()) {
    const Json &part = value_at(line, "/part"), &seconds = value_at(line, "/seconds");
    const bool is_own = value_at(line, "/of") == Json(inputs_hash_);
    if (is_own && part.is_string() && seconds.is_number())
      parts_.emplace(part, Part{value_at(line, "/result"), seconds});
  }
  found_ = parts_.size();
}

const Json* PartialCell::find(const std::string& part) const {
  const auto found = parts_.find(part);
  return found == parts_.end() ? nullptr : &found->second.result;
}

void PartialCell::add(const std::string& part, const Json& result) {
  const auto now = Clock::now();
  add(part, result, std::chrono::duration<double>(now - since_).count());
  since_ = now;
}

void PartialCell::add(const std::string& part, const Json& result, double seconds) {
  check_();
  log_.append({{"of", inputs_hash_}, {"part", part}, {"seconds", seconds}, {"result", result}});
  parts_.emplace(part, Part{result, seconds});
}

double PartialCell::seconds(const std::string& kind) const {
  double sum = 0;
  for (const auto& [name, part] : parts_) sum += name.starts_with(kind) ? part.seconds : 0;
  return sum;
}

void PartialCell::remove(const std::filesystem::path& cell) {
  std::error_code stays;  // beside a finished row it is not read, and the next run removes it
  std::filesystem::remove(cell / kName, stays);
}

}  // namespace qroar
