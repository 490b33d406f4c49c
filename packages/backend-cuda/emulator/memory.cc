// Guarded allocations, and where an address lies among them.
#include "memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>

namespace emu {

constexpr size_t kPage = 4096, kAlign = 16;  // 16: the widest access of a thread, so that little slack hides an overrun

struct Allocation {
  size_t bytes, slack, mapped;
  char* base;
};
static std::map<uint64_t, Allocation> allocations;
static size_t live;

static size_t up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

size_t totalBytes() {
  static const size_t total = [] {
    const char* text = getenv("DARKROOM_CUDA_EMULATOR_BYTES");
    return text ? strtoull(text, nullptr, 10) : size_t{4} << 30;
  }();
  return total;
}
size_t liveBytes() { return live; }

char* guarded(size_t bytes) {
  const size_t inside = up(bytes, kPage);
  void* base = mmap(nullptr, inside + 2 * kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  char* data = static_cast<char*>(base) + kPage;
  if (mprotect(data, inside, PROT_READ | PROT_WRITE) == 0) return data;
  munmap(base, inside + 2 * kPage);
  return nullptr;
}

uint64_t allocate(size_t bytes) {
  if (bytes == 0 || bytes > totalBytes() - live) return 0;
  char* data = guarded(bytes);
  if (!data) return 0;
  const size_t inside = up(bytes, kPage);
  memset(data, 0xff, inside);  // NaN in every float format
  const uint64_t start = reinterpret_cast<uint64_t>(data) + inside - up(bytes, kAlign);
  allocations[start] = {bytes, up(bytes, kAlign) - bytes, inside + 2 * kPage, data - kPage};
  live += bytes;
  return start;
}

bool release(uint64_t address, std::string* damage) {
  const auto found = allocations.find(address);
  if (found == allocations.end()) return false;
  const Allocation gone = found->second;
  // The guard pages do not cover the bytes between them and the allocation: those must still hold their poison.
  const auto* start = reinterpret_cast<const unsigned char*>(address);
  const auto* page = reinterpret_cast<const unsigned char*>(gone.base) + kPage;
  auto check = [&](const unsigned char* at) {
    if (*at != 0xff && damage->empty()) *damage = "something wrote " + locate(reinterpret_cast<uint64_t>(at));
  };
  for (const auto* at = page; at < start; at++) check(at);
  for (const auto* at = start + gone.bytes; at < start + gone.bytes + gone.slack; at++) check(at);
  allocations.erase(found);
  live -= gone.bytes;
  munmap(gone.base, gone.mapped);
  return true;
}

static auto before(uint64_t address) {
  auto next = allocations.upper_bound(address);
  return next == allocations.begin() ? allocations.end() : std::prev(next);
}

bool covers(uint64_t address, size_t bytes) {
  const auto found = before(address);
  return found != allocations.end() && address + bytes <= found->first + found->second.bytes;
}

std::string locate(uint64_t address) {
  const auto below = before(address);
  const auto above = allocations.upper_bound(address);
  constexpr uint64_t near = 1 << 20;
  auto of = [](const Allocation& a) { return " an allocation of " + std::to_string(a.bytes) + " bytes"; };
  if (below != allocations.end() && address < below->first + below->second.bytes)
    return "at byte " + std::to_string(address - below->first) + " of" + of(below->second);
  const uint64_t past = below == allocations.end() ? ~0ull : address - (below->first + below->second.bytes);
  const uint64_t ahead = above == allocations.end() ? ~0ull : above->first - address;
  if (past <= ahead && past < near) return std::to_string(past) + " bytes past the end of" + of(below->second);
  if (ahead < near) return std::to_string(ahead) + " bytes before the start of" + of(above->second);
  char text[64];
  snprintf(text, sizeof text, "at %#llx, near no allocation", static_cast<unsigned long long>(address));
  return text;
}

}  // namespace emu
