// Finding an adapter and asking it for all that kernels can use.

import { DeviceError } from '@darkroom/core';
import type { DType } from '@darkroom/core';
import { advice, hardwareIsPossible, openGpu } from '#gpu';
import type { Traits } from '@darkroom/gpu-kernels';

/** Choice of a GPU. */
export interface AdapterOptions {
  /** The preferred GPU of two; default: the fast one. */
  readonly powerPreference?: GPUPowerPreference;
  /**
   * Software adapters: 'allow' (default) takes one where no hardware is found, 'never' takes none, 'only' takes no
   * other.
   */
  readonly software?: 'allow' | 'never' | 'only';
  /** The WebGPU entry point to use instead of this platform's own. */
  readonly gpu?: GPU;
}

/**
 * SwiftShader compiles ten times as long as lavapipe, 70 ms a result, and computes a fifth as fast; and a page that has
 * nothing better draws a picture or two, fifty runs of a kernel instead of a thousand.
 */
const swiftShaderPrice = 700_000;

export interface AdapterFacts {
  /** Vendor, architecture and description, as far as the platform tells. */
  readonly description: string;
  readonly software: boolean;
}

export interface OpenedAdapter {
  readonly device: GPUDevice;
  readonly facts: AdapterFacts;
  readonly traits: Traits;
}

/** A device on the best adapter. @throws DeviceError naming the wanted adapter and the packages to install. */
export async function openAdapter(options: AdapterOptions): Promise<OpenedAdapter> {
  const adapter = await findAdapter(options);
  const facts = factsOf(adapter);
  const wanted: GPUFeatureName[] = ['shader-f16'];
  const { limits } = adapter;
  try {
    const device = await adapter.requestDevice({
      label: 'darkroom',
      requiredFeatures: wanted.filter((f) => adapter.features.has(f)),
      requiredLimits: {
        maxBufferSize: limits.maxBufferSize,
        maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
        maxStorageBuffersPerShaderStage: limits.maxStorageBuffersPerShaderStage,
        maxComputeWorkgroupStorageSize: limits.maxComputeWorkgroupStorageSize,
        maxComputeInvocationsPerWorkgroup: limits.maxComputeInvocationsPerWorkgroup,
        maxComputeWorkgroupSizeX: limits.maxComputeWorkgroupSizeX,
      },
    });
    const granted = device.limits;
    const traits: Traits = {
      natives: new Set<DType>(device.features.has('shader-f16') ? ['float16'] : []),
      bindingBytes: Math.floor(granted.maxStorageBufferBindingSize / 256) * 256,
      bindings: granted.maxStorageBuffersPerShaderStage,
      workgroupBytes: granted.maxComputeWorkgroupStorageSize,
      invocations: Math.min(granted.maxComputeInvocationsPerWorkgroup, granted.maxComputeWorkgroupSizeX),
      unroll: !facts.software,
      ...(facts.software && !/llvmpipe/i.test(facts.description) && { compilePrice: swiftShaderPrice }),
    };
    return { device, facts, traits };
  } catch (error) {
    throw new DeviceError(`webgpu: ${facts.description} gave no device: ${(error as Error).message}`);
  }
}

async function findAdapter({
  powerPreference = 'high-performance',
  software = 'allow',
  gpu,
}: AdapterOptions): Promise<GPUAdapter> {
  if (software === 'never' && !gpu && !hardwareIsPossible()) {
    throw new DeviceError(`webgpu: this machine shows no GPU; ${advice()}`);
  }
  let entry: GPU | undefined;
  try {
    entry = gpu ?? (await openGpu());
  } catch (error) {
    throw new DeviceError(`webgpu: the platform's WebGPU did not load: ${(error as Error).message}`);
  }
  if (!entry) throw new DeviceError(`webgpu: not available; ${advice()}`);
  const tries: GPURequestAdapterOptions[] = [];
  if (software !== 'only') tries.push({ powerPreference });
  if (software !== 'never') tries.push({ forceFallbackAdapter: true });
  let skipped = '';
  for (const request of tries) {
    const adapter = await entry.requestAdapter(request);
    if (!adapter) continue;
    const { description, software: isSoftware } = factsOf(adapter);
    if (isSoftware ? software !== 'never' : software !== 'only') return adapter;
    skipped = `; ${description} is ${isSoftware ? 'software' : 'hardware'}, which was not asked for`;
  }
  throw new DeviceError(`webgpu: no adapter found${skipped}; ${advice()}`);
}

function factsOf(adapter: GPUAdapter): AdapterFacts {
  const { info } = adapter;
  const parts = [info.vendor, info.architecture, info.description || info.device].filter((p) => p !== '');
  // Older browsers tell it on the adapter, and software drivers that do not say so are known by name.
  const flagged =
    info.isFallbackAdapter || (adapter as { isFallbackAdapter?: boolean }).isFallbackAdapter === true;
  const software = flagged || /swiftshader|llvmpipe|software|basic render/i.test(parts.join(' '));
  return { description: parts.join(' ') || 'an adapter without a name', software };
}
