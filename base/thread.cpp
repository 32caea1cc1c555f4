#include "base/thread.h"

#include <pthread.h>

#include "base/check.h"

namespace reeve {

WorkerPool::WorkerPool(std::string name, std::size_t threads) {
  REEVE_CHECK(name.size() <= 12 && threads > 0);
  for (std::size_t i = 0; i < threads; ++i) {
    threads_.emplace_back([this, name = name + "-" + std::to_string(i)] {
      pthread_setname_np(pthread_self(), name.c_str());
      serve();
    });
  }
}

WorkerPool::~WorkerPool() {
  {
    Lock lock(mutex_);
    stopping_ = true;
    queue_.clear();
    wake_.notify_all();
  }
  for (auto& thread : threads_) thread.join();
}

void WorkerPool::run(Task work) {
  Lock lock(mutex_);
  if (stopping_) return;
  queue_.push_back(std::move(work));
  wake_.notify_one();
}

std::size_t WorkerPool::waiting() const {
  Lock lock(mutex_);
  return queue_.size();
}

void WorkerPool::serve() {
  for (;;) {
    Task work;
    {
      Lock lock(mutex_);
      while (queue_.empty() && !stopping_) wake_.wait(lock);
      if (stopping_) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace reeve
