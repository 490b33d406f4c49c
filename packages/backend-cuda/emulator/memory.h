// "Device" memory of the emulator: each allocation ends against a page that faults, so that a kernel which reads past
// its buffer is caught at the element and not by luck.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace emu {

/** 0 when the machine or the pretended device has no room. */
uint64_t allocate(size_t bytes);
/** False when no allocation starts there; `damage` says what lay behind its end, if something wrote there. */
bool release(uint64_t address, std::string* damage);
/** True when the whole range lies in one allocation. */
bool covers(uint64_t address, size_t bytes);
size_t liveBytes();
size_t totalBytes();
/** The place of an address relative to the nearest allocation: "4 bytes past the end of an allocation of 400 bytes". */
std::string locate(uint64_t address);
/** Memory with a page that faults before and after it; `end` lies at the upper one. */
char* guarded(size_t bytes);

}  // namespace emu
