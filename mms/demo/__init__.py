"""``mms demo``: real models in a real S3 bucket behind one real endpoint, on this machine.

Owns everything that only the demo needs: the models, the bucket, the table on the screen. The
server it shows is the ordinary ``mms serve``, started as a process and asked over HTTP.
"""
