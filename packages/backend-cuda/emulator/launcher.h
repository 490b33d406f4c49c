// Runs a kernel's blocks on the CPU. A fault inside a kernel ends the launch, with the thread and the address in the message.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "include/launch.h"

namespace emu {

/** `size`: grid x, y, z, then block x, y, z. `reverse`: blocks run last to first. Where the code is not 0, `message` says what happened where. */
int run(Entry entry, const unsigned* size, size_t sharedBytes, const std::vector<char>& arguments, bool reverse,
        std::string* message);

}  // namespace emu
