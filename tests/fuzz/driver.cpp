// Calls the target for libFuzzer, and checks the messages of refused inputs and of warnings.
#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "fuzz.h"

namespace qroar {

void must(bool condition, const std::string& found, std::source_location place) {
  if (condition) return;
  std::fprintf(stderr, "%s:%u: finding: %s\n", place.file_name(), static_cast<unsigned>(place.line()), found.c_str());
  std::abort();
}

void must_be_one_line(const std::string& message) {
  must(message.find_first_of("\n\r") == std::string::npos, "a message of several lines: " + message);
  must(!message.empty(), "an empty message");
}

const Scratch& scratch() {
  static const Scratch folder;
  return folder;
}

std::vector<std::string> parts_of(std::string_view input, std::size_t count) {
  std::vector<std::string> parts;
  while (parts.size() + 1 < count) {
    const std::string_view part = input.substr(0, input.find('\x01'));
    parts.emplace_back(part);
    input.remove_prefix(std::min(input.size(), part.size() + 1));
  }
  parts.emplace_back(input);
  return parts;
}

namespace {

/// Checks warnings in place of printing them.
class WarningCheck : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
  void sink_it_(const spdlog::details::log_msg& message) override { must_be_one_line(fmt::to_string(message.payload)); }
  void flush_() override {}
};

}  // namespace
}  // namespace qroar

extern "C" int LLVMFuzzerInitialize(int* /*argc*/, char*** /*argv*/) {
  spdlog::set_default_logger(std::make_shared<spdlog::logger>("fuzz", std::make_shared<qroar::WarningCheck>()));
  setenv("QROAR_CACHE", (qroar::scratch().folder() / "cache").c_str(), 1);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, std::size_t size) {
  qroar::refuses([&] { qroar::fuzz_one({reinterpret_cast<const char*>(data), size}); });
  return 0;
}
