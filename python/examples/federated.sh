# What four clients send: networks that each trained on a share of the data.
mkdir -p round-1 round-2
for client in 1 2 3 4; do
  onebasin train mlp:64x2 --data digits --share 0.25 --seed $client \
    --epochs 3 --rate 0.002 -o round-1/client-$client.safetensors
done

# The first round: each with the mean of the others, weighed by its samples.
onebasin merge-many round-1/client-*.safetensors --weights 2000,1200,600,200 \
  --alignments alignments-1 -o global.safetensors

# A later one: each with the global network, which itself counts nothing,
# from where the last round left off.
cp round-1/client-*.safetensors round-2/    # stands for what the clients send next
onebasin merge-many global.safetensors round-2/client-*.safetensors \
  --method reference --weights 0,2000,1200,600,200 \
  --start-from alignments-1 --alignments alignments-2 -o next.safetensors
