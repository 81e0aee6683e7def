// Records which process works on which cell of a results folder, where many processes on many machines share it and
// locks are unreliable: DIR/claims/<id>.<n>/owner.json and beat.json, n = 1, 2, ...
//
// The only operation that must be atomic is rename().  A claim is made under a unique name and then renamed to
// <id>.<n>, which fails if that exists, since a folder that is not empty is never replaced.  The owner of the highest n
// has the cell.  A process that finds this owner dead takes n + 1, never the name of the dead one: so two processes
// that both saw it dead cannot both succeed, and none can remove a claim that is newer than the one it examined.
//
// An owner on this machine is dead when its process is gone; an owner on another machine, when its beat has not changed
// for kSilence by the observer's own clock (clocks of machines are never compared).  An owner that was only suspended
// finds the higher claim when it wakes, and leaves the cell; should it write the row in that very moment, the row is
// the same to the last bit.
//
// A folder .<unique_name()>... is not yet a claim, or no longer one.
//
// NFS: rename() is atomic on the server.  A client may see another's rename and beats with a delay of up to its
// attribute cache time (acdirmax, 60 s unless mounted otherwise), which kSilence allows for.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "config/config.h"

namespace qroar {

/// A cell claimed by this process: beats until it is destroyed, which releases the cell.
class Claim {
 public:
  Claim(std::filesystem::path claims, std::string id, int64_t number, std::string token,
        std::chrono::milliseconds interval);
  ~Claim();
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;

  /// Returns false once another process took the cell over.
  bool is_held() const;
  /// Reports the fraction of the cell that is done, 0..1, for observers.
  void report(double done) { done_ = done; }

 private:
  void beat_until_destroyed();

  std::filesystem::path claims_;
  std::string id_;
  int64_t number_;
  std::string token_;
  std::chrono::milliseconds interval_;
  std::atomic<double> done_ = 0;
  bool ends_ = false;
  std::mutex mutex_;
  std::condition_variable end_;
  std::thread beats_;
};

class Claims {
 public:
  static constexpr std::chrono::milliseconds kBeat{10'000}, kSilence{180'000};

  /// `beat`: time between two beats; `silence`: time without a beat after which an owner on another machine counts as
  /// dead.
  explicit Claims(const std::filesystem::path& results, std::chrono::milliseconds beat = kBeat,
                  std::chrono::milliseconds silence = kSilence);

  /// Claims the cell; returns null when another process has it.  Throws an Error when the folder is not writable or
  /// cannot rename.
  std::unique_ptr<Claim> take(const std::string& id);

  /// Returns the newest claim on every cell, by id: {host, pid, since, done, ...}, whether its owner is `dead`, and for
  /// how many seconds it has been `silent` by this machine's clock, for display.  The host of a claim that does not say
  /// whose it is is "?".
  std::map<std::string, Json> look();

  /// Removes what dead processes left on any cell; calls `taken` with the id of each cell while this process has it.
  void tidy(const std::function<void(const std::string&)>& taken);

 private:
  struct Seen {
    int64_t number = 0;
    Json owner, beat;
  };
  struct Watch {
    std::string content;
    std::chrono::steady_clock::time_point since;
  };
  /// Returns the highest claim number of every claimed cell.
  std::map<std::string, int64_t> newest() const;
  Seen read(const std::string& id, int64_t number) const;
  bool is_dead(const std::string& id, const Seen& seen);

  std::filesystem::path folder_;
  std::chrono::milliseconds beat_, silence_;
  std::map<std::string, Watch> watched_;  ///< last content of each beat, and since when
};

}  // namespace qroar
