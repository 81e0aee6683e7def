// XXH3 128-bit as 32 hexadecimal digits, the same as `xxh128sum`; for identity, not for security.
#pragma once
#include <memory>
#include <string>
#include <string_view>

namespace qroar {

std::string hash_bytes(std::string_view bytes);

/// Hashes bytes that arrive in parts.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  void add(std::string_view bytes);
  std::string digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace qroar
