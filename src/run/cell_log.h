// The log of a running cell.
#pragma once
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <filesystem>
#include <memory>

namespace qroar {

/// Copies the log into the cell's folder, which it creates, during its lifetime.
class CellLog {
 public:
  explicit CellLog(const std::filesystem::path& folder) {
    std::filesystem::create_directories(folder);
    sink_ = std::make_shared<spdlog::sinks::basic_file_sink_mt>((folder / "log.txt").string(), /*truncate=*/true);
    spdlog::default_logger()->sinks().push_back(sink_);
  }
  ~CellLog() { std::erase(spdlog::default_logger()->sinks(), sink_); }
  CellLog(const CellLog&) = delete;
  CellLog& operator=(const CellLog&) = delete;

 private:
  spdlog::sink_ptr sink_;
};

}  // namespace qroar
