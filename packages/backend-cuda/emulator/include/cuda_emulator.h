// Put in front of a kernel's text when g++ compiles it in NVRTC's place. Shared memory is declared in kernels, not in
// templates: g++ cannot place a template's statics in a section.
#pragma once

#define CUDA_EMU 1

#include "tensor.h"
