#include "core/host/io/sha256.h"

#include <openssl/evp.h>

#include <array>
#include <fstream>
#include <vector>

#include "core/host/error.h"

namespace vitrine::io {

struct Sha256::State {
  EVP_MD_CTX* context = ::EVP_MD_CTX_new();
  State() = default;
  State(const State&) = delete;
  ~State() { ::EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  if (state_->context == nullptr || ::EVP_DigestInit_ex(state_->context, ::EVP_sha256(), nullptr) != 1)
    throw Error("libcrypto gives no SHA-256");
}

Sha256::~Sha256() = default;

void Sha256::add(const void* data, std::size_t bytes) {
  if (::EVP_DigestUpdate(state_->context, data, bytes) != 1) throw Error("libcrypto: SHA-256 failed");
}

std::string Sha256::hexadecimal() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> bytes{};
  unsigned size = 0;
  if (::EVP_DigestFinal_ex(state_->context, bytes.data(), &size) != 1) throw Error("libcrypto: SHA-256 failed");
  std::string out;
  for (unsigned i = 0; i < size; ++i) {
    out += "0123456789abcdef"[bytes[i] >> 4];
    out += "0123456789abcdef"[bytes[i] & 15];
  }
  return out;
}

std::string sha256_of_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::vector<char> piece(std::size_t{1} << 20);
  Sha256 hash;
  while (file) {
    file.read(piece.data(), static_cast<std::streamsize>(piece.size()));
    hash.add(piece.data(), static_cast<std::size_t>(file.gcount()));
  }
  if (!file.eof()) throw Error(path + ": cannot be read");
  return hash.hexadecimal();
}

}  // namespace vitrine::io
