// A device that is not the host: its memory and its kernel table. The table has the same slots as the host's; its
// pointers are the device's. Back ends are modules of their own, opened when a command asks for them
// (core/host/device.h), so that the program installs and starts without a GPU's libraries.
#pragma once

#include <cstddef>

#include "kernels/kernels.h"

namespace vitrine::kernels {

/// All work runs in the order of the calls, on one stream; functions that give data to the host wait for it. After a
/// failure later calls do nothing, and `failure` returns it, so that not every launch need be checked.
struct Device {
  const char* name = "";  ///< "cuda:0, NVIDIA H100": for messages
  const Table<float>* kernels = nullptr;
  std::size_t (*free_bytes)() noexcept = nullptr;
  /// Aligned to 256 bytes; null if there is not enough.
  void* (*allocate)(std::size_t bytes) noexcept = nullptr;
  void (*release)(void*) noexcept = nullptr;
  void (*upload)(void* to, const void* host, std::size_t bytes) noexcept = nullptr;
  void (*download)(void* host, const void* from, std::size_t bytes) noexcept = nullptr;
  void (*zero)(void* to, std::size_t bytes) noexcept = nullptr;
  /// Waits until everything is done.
  void (*synchronise)() noexcept = nullptr;
  /// One sentence about the first failure since the device was opened, or null.
  const char* (*failure)() noexcept = nullptr;
  // Repeated work is recorded once and then launched as one piece. May be null.
  /// From now on work is recorded, not run; false if that is not possible.
  bool (*begin_recording)() noexcept = nullptr;
  /// The recording, or null if something in it needed the host: then nothing has run.
  void* (*end_recording)() noexcept = nullptr;
  /// Runs recorded work; false if the recording is no longer valid. Forget it then.
  bool (*replay)(void* recording) noexcept = nullptr;
  void (*forget)(void* recording) noexcept = nullptr;
};

}  // namespace vitrine::kernels

/// What a back end's module exports (its type: decltype(vitrine_open_device)): device `index`, or null and a sentence
/// in *why.
extern "C" const vitrine::kernels::Device* vitrine_open_device(int index, const char** why) noexcept;
