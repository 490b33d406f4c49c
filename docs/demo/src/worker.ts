// Everything heavy, off the page's thread: a GPU, or the processor where there is none.

import { cpu } from '@darkroom/backend-cpu';
import { webgpu } from '@darkroom/backend-webgpu';
import { serve } from '@darkroom/diffusers/worker';

serve({ devices: { webgpu, cpu } });
