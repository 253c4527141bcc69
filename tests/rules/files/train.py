print("a training of your own")
