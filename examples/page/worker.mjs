// A worker in a page, the worker's half: opens the browser's GPU, or the CPU where there is none, and answers page.mjs.

import { cpu } from '@darkroom/backend-cpu';
import { webgpu } from '@darkroom/backend-webgpu';
import { serve } from '@darkroom/diffusers/worker';

serve({ devices: { webgpu, cpu } });
