// WebGPU in Node: Dawn, through the `webgpu` package.

import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** Whatever is awaited is asked for in every turn of the event loop. */
export const waitsByPolling = true;

/** Opens Dawn once. @throws Error when its library does not load here. */
export async function openGpu(): Promise<GPU | undefined> {
  // Node dies when Dawn's object is collected while a device lives: it stays reachable for ever.
  const holder = globalThis as { darkroomGpu?: GPU };
  if (!holder.darkroomGpu) {
    const { create, globals } = await import('webgpu').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ERR_MODULE_NOT_FOUND')
        throw new Error("Dawn's package is not installed: npm install webgpu");
      throw error;
    });
    for (const [name, value] of Object.entries(globals)) {
      if (!(name in globalThis))
        Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    }
    holder.darkroomGpu = create([]);
  }
  return holder.darkroomGpu;
}

/**
 * False where the system shows no GPU at all: asking Dawn then costs time and prints the Vulkan loader's complaints.
 * Only Linux can tell (DRM and NVIDIA nodes, WSL's).
 */
export function hardwareIsPossible(): boolean {
  if (process.platform !== 'linux') return true;
  const nodes = existsSync('/dev/dri') ? readdirSync('/dev/dri') : [];
  return nodes.some((n) => n.startsWith('renderD')) || existsSync('/dev/nvidia0') || existsSync('/dev/dxg');
}

/** Advice for a machine without an adapter: packages to install, settings to switch on. */
export function advice(): string {
  switch (process.platform) {
    case 'darwin':
      return 'macOS offers WebGPU through Metal on every Mac with macOS 12 or newer; update the system';
    case 'win32':
      return 'update the graphics driver: WebGPU needs Direct3D 12 or Vulkan 1.1';
    default:
      return `install the graphics driver with Vulkan support, and the Vulkan loader (${linuxPackages()})`;
  }
}

function linuxPackages(): string {
  let release = '';
  try {
    release = readFileSync('/etc/os-release', 'utf8');
  } catch {
    // Not every Linux has the file; the general names will do.
  }
  const family = /^ID(_LIKE)?=.*$/gm;
  const ids = (release.match(family) ?? []).join(' ');
  if (/fedora|rhel/.test(ids)) return 'dnf install vulkan-loader mesa-vulkan-drivers';
  if (/arch/.test(ids))
    return 'pacman -S vulkan-icd-loader and vulkan-radeon, vulkan-intel, nvidia-utils or vulkan-swrast';
  const old = /VERSION_CODENAME=bookworm/.test(release)
    ? '; for a software adapter take mesa-vulkan-drivers from bookworm-backports, 22.3 is too old for Dawn'
    : '';
  return `apt install libvulkan1 and mesa-vulkan-drivers or NVIDIA's driver${old}`;
}
