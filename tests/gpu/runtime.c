/* A CUDA runtime with two devices and no work: what torch's device guards and autograd threads ask of it. */
#include <driver_types.h>
#include <stdlib.h>
#include <string.h>

typedef void *Handle;

static __thread int device = 0;

cudaError_t cudaGetDeviceCount(int *count) { *count = 2; return 0; }
cudaError_t cudaGetDevice(int *number) { *number = device; return 0; }
cudaError_t cudaSetDevice(int number) { device = number; return 0; }
cudaError_t cudaDriverGetVersion(int *version) { *version = 13000; return 0; }
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) { *least = 0; *greatest = -5; return 0; }
cudaError_t cudaStreamCreateWithPriority(Handle *stream, unsigned flags, int priority) { *stream = malloc(8); return 0; }
cudaError_t cudaStreamSynchronize(Handle stream) { return 0; }
cudaError_t cudaStreamQuery(Handle stream) { return 0; }
cudaError_t cudaStreamIsCapturing(Handle stream, int *capturing) { *capturing = 0; return 0; }
cudaError_t cudaStreamWaitEvent(Handle stream, Handle event, unsigned flags) { return 0; }
cudaError_t cudaEventCreateWithFlags(Handle *event, unsigned flags) { *event = malloc(8); return 0; }
cudaError_t cudaEventRecord(Handle event, Handle stream) { return 0; }
cudaError_t cudaEventQuery(Handle event) { return 0; }
cudaError_t cudaEventSynchronize(Handle event) { return 0; }
cudaError_t cudaEventDestroy(Handle event) { free(event); return 0; }
cudaError_t cudaDeviceSynchronize(void) { return 0; }
cudaError_t cudaGetLastError(void) { return 0; }
cudaError_t cudaPeekAtLastError(void) { return 0; }
cudaError_t cudaThreadExchangeStreamCaptureMode(int *mode) { return 0; }
cudaError_t cudaMalloc(void **memory, size_t size) { *memory = malloc(size ? size : 1); return 0; }
cudaError_t cudaFree(void *memory) { free(memory); return 0; }
const char *cudaGetErrorString(cudaError_t error) { return "no CUDA"; }
const char *cudaGetErrorName(cudaError_t error) { return "no CUDA"; }

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *found, int number) {
  memset(found, 0, sizeof *found);
  strcpy(found->name, "FAKE GPU");
  found->major = 8;
  found->multiProcessorCount = 108;
  found->totalGlobalMem = (size_t)40 << 30;
  found->warpSize = 32;
  found->maxThreadsPerBlock = 1024;
  found->maxThreadsPerMultiProcessor = 2048;
  found->sharedMemPerBlock = 49152;
  found->sharedMemPerBlockOptin = 166912;
  found->regsPerBlock = 65536;
  for (int axis = 0; axis < 3; axis++) {
    found->maxThreadsDim[axis] = axis < 2 ? 1024 : 64;
    found->maxGridSize[axis] = axis ? 65535 : 2147483647;
  }
  return 0;
}
